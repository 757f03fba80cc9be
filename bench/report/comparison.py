"""What moved since the last committed run: the figures whose spreads do not touch.

A spread is from the smallest to the largest of a figure's interleaved runs. Where both spreads
overlap, nothing is said: a machine that is a little slower today must not look like a change of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bench.figures import Figure
from bench.report.results import Results

SMALLEST_CHANGE = 0.02
"""Below this share of the former median a change is none."""
SMALLEST_CHANGE_OF_ONE = 0.1
"""The same for a figure that was measured once: what its spread would be nobody knows."""


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Movement:
    """One figure that is not where it was."""

    verdict: Verdict
    before: Figure | None
    now: Figure | None

    @property
    def figure(self) -> Figure:
        found = self.now or self.before
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that moved, and whether the times of both runs may be held against each other at all."""

    movements: tuple[Movement, ...]
    same_machine: bool

    def of(self, verdict: Verdict) -> tuple[Movement, ...]:
        return tuple(movement for movement in self.movements if movement.verdict is verdict)


def compare(before: Results, now: Results) -> Comparison:
    """Return what moved from one run to the other."""
    return Comparison(tuple(_movements(before, now)), now.conditions.same_machine(before.conditions))


def _movements(before: Results, now: Results) -> Iterator[Movement]:
    former = {_key(figure): figure for figure in before.figures}
    measured = {figure.section for figure in now.figures}
    for figure in now.figures:
        old = former.pop(_key(figure), None)
        if old is None:
            yield Movement(Verdict.NEW, None, figure)
        elif moved(old, figure):
            risen = figure.median > old.median
            yield Movement(Verdict.BETTER if risen is more_is_better(figure) else Verdict.WORSE, old, figure)
    for old in former.values():
        if old.section in measured:  # a run of one part says nothing of the others
            yield Movement(Verdict.GONE, old, None)


def moved(before: Figure, now: Figure) -> bool:
    """Tell whether a figure is outside of both spreads."""
    (old_low, old_high), (low, high) = before.spread, now.spread
    apart = low > old_high or high < old_low
    once = min(len(before.values), len(now.values)) == 1
    smallest = SMALLEST_CHANGE_OF_ONE if once else SMALLEST_CHANGE
    return apart and abs(now.median - before.median) > smallest * abs(before.median)


def more_is_better(figure: Figure) -> bool:
    """Tell what a figure is to become: its goal says so, else its unit: what is done in a second."""
    if figure.goal is not None:
        return figure.goal.at_least is not None
    return figure.unit.endswith("/s")


def _key(figure: Figure) -> tuple[str, str, str]:
    return figure.section, figure.name, figure.subject
