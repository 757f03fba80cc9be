"""The page docs/performance.md: the words of page.md with the results in them.

It depends on the results alone, so that it can be written again from docs/performance.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench.figures import Figure
from bench.parts import PARTS
from bench.report.matrix import matrix_of
from bench.report.numbers import median_and_spread, short, verdict
from bench.report.plots import draw
from bench.report.results import Results

_TEMPLATE = Path(__file__).with_name("page.md")


@dataclass(frozen=True, slots=True)
class Files:
    """Where a report goes."""

    page: Path
    data: Path
    pictures: Path
    """The folder of the plots."""

    def picture(self, section: str) -> Path:
        return self.pictures / f"performance-{_slug(section)}.svg"


def write(results: Results, files: Files) -> None:
    """Write data, page and a picture a section; pictures of sections that are no more go."""
    for folder in (files.page.parent, files.data.parent, files.pictures):
        folder.mkdir(parents=True, exist_ok=True)
    drawn = {files.picture(section): draw(results, section) for section in results.sections}
    for old in set(files.pictures.glob("performance-*.svg")) - drawn.keys():
        old.unlink()
    for file, picture in drawn.items():
        file.write_text(picture, encoding="utf-8")
    files.data.write_text(results.to_json(), encoding="utf-8")
    files.page.write_text(page(results, files), encoding="utf-8")


def page(results: Results, files: Files) -> str:
    """Return the page's text."""
    conditions = results.conditions
    versions = ", ".join(f"{name} {version}" for name, version in sorted(conditions.versions.items()))
    met = sum(bool(figure.is_met) for figure in results.with_goal)
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        summary=f"{met} of the {len(results.with_goal)} goals measured here are met.",
        parts="`, `".join(PARTS),
        goals=_goals(results),
        sections="\n\n".join(
            part for section in results.sections for part in _section(results, section, files)
        ),
        date=conditions.date,
        commit=conditions.commit,
        python=conditions.python,
        valkey=conditions.valkey,
        machine=f"{conditions.system}, {conditions.processor}, {conditions.cores} cores, "
        f"{conditions.memory_gib:g} GiB",
        versions=versions,
        seconds=f"{conditions.seconds:.0f}",
    )


def _goals(results: Results) -> str:
    rows: list[Sequence[str]] = [("figure", "measured", "goal", ""), ("---", "--:", "---", "---")]
    for figure in results.with_goal:
        named = figure.name if figure.subject == "sluice" else f"{figure.name} ({figure.subject})"
        measured = f"{short(figure.median)} {figure.unit}"
        rows.append(
            (f"{figure.section}: {named}", measured, figure.goal.text if figure.goal else "", verdict(figure))
        )
    return _markdown(rows)


def _section(results: Results, section: str, files: Files) -> Iterator[str]:
    figures = results.of_section(section)
    yield f"## {section}"
    matrix = matrix_of(figures)
    rows: list[Sequence[str]] = [("", *matrix.subjects), ("---", *["--:"] * len(matrix.subjects))]
    rows += [(name, *(_cell(figure) for figure in cells)) for name, cells in matrix.rows]
    yield _markdown(rows)
    if notes := "\n".join(dict.fromkeys(_notes(figures))):
        yield notes
    picture = files.picture(section)
    yield f"![{section}]({picture.relative_to(files.page.parent).as_posix()})"


def _notes(figures: Sequence[Figure]) -> Iterator[str]:
    for figure in figures:
        if figure.note:
            yield f"- {figure.name}, {figure.subject}: {' '.join(figure.note.split())}"


def _cell(figure: Figure | None) -> str:
    return "–" if figure is None else median_and_spread(figure)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
