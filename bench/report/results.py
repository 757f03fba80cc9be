"""What one run came to, as docs/performance.json keeps it; the page and the plots are drawn from it alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from bench.figures import Figure
from bench.report.conditions import Conditions

_NUMBERS = re.compile(r"\[\s*(-?[\d.e+-]+(?:,\s*-?[\d.e+-]+)*)\s*\]")
_SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Results:
    """The conditions and all figures."""

    conditions: Conditions
    figures: tuple[Figure, ...]

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(figure.section for figure in self.figures))

    @property
    def with_goal(self) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if figure.goal is not None)

    def of_section(self, section: str) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if figure.section == section)

    def completed_by(self, before: Results) -> Results:
        """Return these results with the former figures of the sections that this run did not measure."""
        measured = set(self.sections)
        kept = tuple(figure for figure in before.figures if figure.section not in measured)
        return Results(self.conditions, (*self.figures, *kept))

    def to_json(self) -> str:
        """Return the file's text; a list of numbers takes one line."""
        stored = _ADAPTER.dump_python(self, mode="json", exclude_none=True)
        for figure in stored["figures"]:
            figure["values"] = [float(f"{value:.{_SIGNIFICANT_DIGITS}g}") for value in figure["values"]]
        text = json.dumps(stored, indent=1, ensure_ascii=False)
        return _NUMBERS.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text) + "\n"

    @staticmethod
    def from_json(text: str) -> Results:
        """Read what `to_json` wrote; raises pydantic's ValidationError when it is something else."""
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(Results)


def by_name(figures: tuple[Figure, ...]) -> Iterator[tuple[str, tuple[Figure, ...]]]:
    """Yield the figures of the same name together, in the order in which names appear."""
    for name in dict.fromkeys(figure.name for figure in figures):
        yield name, tuple(figure for figure in figures if figure.name == name)
