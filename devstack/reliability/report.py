"""The page docs/reliability.md: the words of page.md with the results in them.

It depends on the results alone, so that it can be written again from docs/reliability.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from devstack.reliability.picture import draw
from devstack.reliability.results import Conditions, Results, SectionResult
from devstack.reliability.table import heading, markdown_table, overview, summary

_TEMPLATE = Path(__file__).with_name("page.md")
_ALTERNATIVE = "How long it took after a kill and after a cancel, against the lease"


@dataclass(frozen=True, slots=True)
class Files:
    """Where a report goes; the picture lies beside the page."""

    page: Path
    data: Path

    @property
    def picture(self) -> Path:
        return self.page.with_suffix(".svg")


def write(results: Results, files: Files) -> None:
    """Write data, page and picture; an older picture goes when there is nothing to draw."""
    for file in (files.page, files.data):
        file.parent.mkdir(parents=True, exist_ok=True)
    files.data.write_text(results.to_json(), encoding="utf-8")
    files.page.write_text(page(results, files.picture.name), encoding="utf-8")
    if (picture := draw(results)) is not None:
        files.picture.write_text(picture, encoding="utf-8")
    else:
        files.picture.unlink(missing_ok=True)


def page(results: Results, picture_name: str = "reliability.svg") -> str:
    """Return the page.

    Args:
        results: what the run came to.
        picture_name: the picture's file, beside the page.
    """
    has_picture = draw(results) is not None
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        summary=summary(results),
        overview=overview(results),
        picture=f"![{_ALTERNATIVE}]({picture_name})\n" if has_picture else "",
        sections="\n\n".join(part for section in results.sections for part in _section(section)) + "\n",
        **_conditions(results.conditions),
    )


def _section(section: SectionResult) -> Iterator[str]:
    yield f"## {heading(section)}"
    yield section.promise
    yield markdown_table(section)
    if notes := [
        f"- {_inline(trial.title)}: {_inline(note)}." for trial in section.trials for note in trial.notes
    ]:
        yield "\n".join(notes)
    if problems := [f"- **{t.title}**: {text}" for t in section.trials for text in t.problems]:
        yield "Problems:\n\n" + "\n".join(problems)
    yield _settings(section)


def _settings(section: SectionResult) -> str:
    lease = f"Lease {section.lease_seconds:g} s"
    others = {name: value for name, value in section.settings.items() if name != "LEASE_SECONDS"}
    return "; ".join(part for part in (lease, _pairs(others), _pairs(section.stand_ins)) if part) + "."


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in values.items())


def _conditions(conditions: Conditions) -> dict[str, str]:
    how = "every point" if conditions.thorough else "the short version"
    rounds = "1 round" if conditions.rounds == 1 else f"{conditions.rounds} rounds"
    values = {name: str(value) for name, value in conditions.model_dump().items()}
    return values | {"effort": f"{rounds}, {how}", "seconds": f"{conditions.seconds:.0f}"}


def _inline(text: str) -> str:
    return " ".join(text.split())
