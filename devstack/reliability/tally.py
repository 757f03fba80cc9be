"""What one trial has seen: how often it ran, what was lost or doubled, how long things took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["lost", "doubled", "wrong"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A promise that was broken: something was lost, something was there twice, or it was just wrong."""

    kind: Kind
    text: str


@dataclass(slots=True)
class Tally:
    """Counts one trial's runs: a run is one task (or one call) that met one fault."""

    runs: int = 0
    problems: list[Problem] = field(default_factory=list)
    recovery_ms: list[float] = field(default_factory=list)
    """From a kill to the start of the next attempt."""
    cancel_ms: list[float] = field(default_factory=list)
    """From a cancel's answer to the end of the provider's call."""
    faults: int = 0
    """How many faults really happened, where that is not the number of runs."""
    notes: list[str] = field(default_factory=list)
    """What else was measured, for the table: such as "97 % of those refused got in at their next try"."""

    def ran(self, problems: Iterable[Problem], runs: int = 1) -> None:
        """Count a run and what was wrong with it."""
        self.runs += runs
        self.problems += problems

    def count(self, kind: Kind) -> int:
        return sum(problem.kind == kind for problem in self.problems)

    def assert_clean(self) -> None:
        """Raise AssertionError unless something ran and nothing was wrong."""
        assert self.runs > 0, "nothing ran"
        assert not self.problems, "\n".join(f"{p.kind}: {p.text}" for p in self.problems)
