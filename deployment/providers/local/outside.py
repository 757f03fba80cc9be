"""The world around an environment on this machine: what Redis, QStash and the models are elsewhere.

The environment's file names the module that stands in for it (`[services]`); it is found by that name when it
is needed, and nothing here knows what it is made of. It is there before the functions are: its addresses and
its secrets are made by whoever looks first, and kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from deployment.errors import Refused


@dataclass(frozen=True, slots=True)
class Declared:
    """What the functions have to know of the world around them."""

    variables: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values by variable that are true of these services alone: where Redis is, QStash's token and keys."""
    suggested: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values for secrets that somebody may rather choose himself, such as a model's key."""


class Outside(Protocol):
    """What such a module offers."""

    def declare(self, folder: Path) -> Declared:
        """Return what there is to know, the same each time for one folder; starts nothing."""

    def run(self, folder: Path, started: Callable[[int], None]) -> AbstractContextManager[None]:
        """Run all of it while the context is open.

        Args:
            folder: where it keeps what must outlive it.
            started: told the id of each process that is started, so that none is left behind.
        """


def load_outside(module: str) -> Outside:
    """Return the module of that dotted name.

    Raises:
        Refused: there is none, or it offers something else.
    """
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise Refused(f"The services' module {module} cannot be loaded: {error}") from error
    if not callable(getattr(found, "declare", None)) or not callable(getattr(found, "run", None)):
        raise Refused(f"The services' module {module} must offer declare() and run().")
    return cast("Outside", found)
