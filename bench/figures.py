"""What every part of the benchmark returns: a figure, its values of all interleaved runs, and its goal.

A part is a module or package of `bench/` with `measure(progress) -> list[Figure]`; `bench.parts` lists them,
and `bench.report` knows nothing of them but what stands here.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure's median is held to; `text` says it as the page does ("≤ 130", "≤ best peer")."""

    text: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        too_much = self.at_most is not None and value > self.at_most
        too_little = self.at_least is not None and value < self.at_least
        return not (too_much or too_little)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: what was measured of whom, one value for each interleaved run."""

    section: str
    name: str
    subject: str
    unit: str
    values: tuple[float, ...]
    goal: Goal | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.section}, {self.name}, {self.subject}: no value was measured")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    @property
    def is_met(self) -> bool | None:
        """Tell whether the median meets the goal; None when there is no goal."""
        return None if self.goal is None else self.goal.met(self.median)
