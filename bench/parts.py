"""The parts of the benchmark, in the order in which `make bench` runs them.

Each is imported only when it runs, so that `--only` costs nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol, cast

from bench.figures import Figure

Progress = Callable[[str], None]
PARTS: Mapping[str, str] = {
    "pipelines": "bench.pipelines",
    "commands": "bench.commands",
    "growth": "bench.growth",
    "lane": "bench.lane",
    "guard": "bench.guard",
    "starting": "bench.starting",
    "bridge": "bench.bridge",
}
"""The name on the command line, and the module that has `measure`."""


class Part(Protocol):
    """What a part's module offers."""

    def measure(self, progress: Progress) -> list[Figure]: ...


def load_part(name: str) -> Part:
    """Return a part by its name on the command line."""
    return cast("Part", import_module(PARTS[name]))
