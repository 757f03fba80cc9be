"""A section as rows and columns: what was measured, and of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Figure
from bench.report.results import by_name


@dataclass(frozen=True, slots=True)
class Matrix:
    """A row holds a cell for each subject, None where it was not measured."""

    subjects: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Figure | None, ...]], ...]

    @property
    def has_goals(self) -> bool:
        return any(
            figure is not None and figure.goal is not None for _, cells in self.rows for figure in cells
        )


MOST_COLUMNS = 7


def matrix_of(figures: Sequence[Figure]) -> Matrix:
    """Arrange the figures of one section; one measure of many subjects takes a row for each of these."""
    if len({figure.name for figure in figures}) == 1 and len(figures) > MOST_COLUMNS:
        column = f"{figures[0].name}, {figures[0].unit}"
        return Matrix((column,), tuple((figure.subject, (figure,)) for figure in figures))
    subjects = tuple(dict.fromkeys(figure.subject for figure in figures))
    rows = []
    for name, of_name in by_name(tuple(figures)):
        by_subject = {figure.subject: figure for figure in of_name}
        rows.append((f"{name}, {of_name[0].unit}", tuple(by_subject.get(subject) for subject in subjects)))
    return Matrix(subjects, tuple(rows))
