"""What one operation costs at each size, and what that says of how it grows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.figures import Figure, Goal

SECTION = "How cost grows"
ROOM = 1.5
"""What a ratio of times may be above its bound: two cores that others use too are no exact clock."""


class Bound(StrEnum):
    """What an operation's cost is held to, as the size grows from n to m."""

    FLAT = "flat"
    """It does not depend on the size, but for what a larger sorted set costs."""
    LINEAR = "≤ n·log n"
    """Each of the n costs no more than log n."""


@dataclass(frozen=True, slots=True)
class Curve:
    """An operation's cost, once for each round, at each size.

    Attributes:
        axis: what the size counts.
        unit: of the cost, for one operation.
    """

    axis: str
    operation: str
    unit: str
    bound: Bound
    points: Mapping[int, tuple[float, ...]]

    @property
    def sizes(self) -> list[int]:
        return sorted(self.points)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Return the cost at the largest size over that at the smallest, once for each round."""
        first, last = self.points[self.sizes[0]], self.points[self.sizes[-1]]
        return tuple(after / before for before, after in zip(first, last, strict=True))

    @property
    def at_most(self) -> float:
        if self.bound is Bound.FLAT:
            return ROOM
        first, last = self.sizes[0], self.sizes[-1]
        return ROOM * last * max(1.0, math.log2(last)) / (first * max(1.0, math.log2(first)))

    def median(self, size: int) -> float:
        return statistics.median(self.points[size])

    def figures(self) -> list[Figure]:
        """Return the row of the table: how many times more the largest size costs than the smallest."""
        first, last = self.sizes[0], self.sizes[-1]
        growth = f"{last / first:,.0f} × the size ({first:,} to {last:,})"
        costs = f"{self.median(first):.3g} to {self.median(last):.3g} {self.unit}"
        goal = Goal(f"{self.bound}: ≤ {self.at_most:,.1f} ×", at_most=self.at_most)
        name = f"{self.operation}, by {self.axis}"
        return [Figure(SECTION, name, "sluice", "×", self.ratios, goal, f"{growth}; {costs}")]
