"""The command, on an environment in memory."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from deployment.cli.main import main
from tests.unit.deployment.world_kit import World, opener


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return the one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def all(self) -> str:
        return self.out + self.err


@dataclass(frozen=True, slots=True)
class Command:
    """Runs commands as somebody types them."""

    captured: pytest.CaptureFixture[str]

    def __call__(
        self, world: World, *arguments: str, status: int = 0, given: str = "", **variables: str
    ) -> Said:
        self.captured.readouterr()
        with _standard_input(given):
            try:
                ended = main(arguments, opener(world, **variables))
            except SystemExit as left:
                ended = int(left.code or 0)
        said = self.captured.readouterr()
        assert ended == status, f"{arguments}: {ended}\n{said.out}\n{said.err}"
        return Said(ended, said.out, said.err)


@contextmanager
def _standard_input(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before
