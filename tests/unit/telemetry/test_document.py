"""docs/observability.md lists every span, instrument and attribute as the code has them, and nothing that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared.telemetry.attributes import Attribute
from shared.telemetry.instruments import INSTRUMENTS, Instrument
from shared.telemetry.spans import SPANS

DOCUMENT = Path(__file__).parents[3] / "docs" / "observability.md"


def tables() -> dict[str, list[str]]:
    """Return what the document's three tables are to be, by their first column's heading."""
    return {
        "Span": [
            _row(f"`{span.name}`", span.kind, span.functions, span.meaning, _names(span.attributes))
            for span in SPANS
        ],
        "Instrument": [
            _row(
                f"`{each.name}`",
                each.measure,
                f"`{each.unit}`",
                each.functions,
                _meaning(each),
                _names(each.attributes),
            )
            for each in INSTRUMENTS
        ],
        "Attribute": [_row(f"`{attribute.value}`", attribute.meaning) for attribute in Attribute],
    }


def _meaning(each: Instrument) -> str:
    bounds = ", ".join(f"{bound:g}" for bound in each.boundaries)
    return each.meaning + (f" Buckets: {bounds}." if bounds else "")


def _names(attributes: Iterable[Attribute]) -> str:
    order = list(Attribute)
    return ", ".join(f"`{each.value}`" for each in sorted(attributes, key=order.index)) or "none"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def rows(heading: str) -> list[str]:
    """Return the rows of the table in the document whose first column has this heading."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    found = lines[start + 2 :]
    end = next((number for number, line in enumerate(found) if not line.startswith("|")), len(found))
    return found[:end]


def test_the_document_s_tables_are_the_catalogue() -> None:
    for heading, expected in tables().items():
        assert rows(heading) == expected, "\n".join(expected)


def test_every_attribute_is_said_by_a_span_or_an_instrument() -> None:
    said = {each for span in SPANS for each in span.attributes} | {
        each for instrument in INSTRUMENTS for each in instrument.attributes
    }
    assert said == set(Attribute)


def test_names_are_the_conventions_or_our_own_and_none_stands_twice() -> None:
    names = [span.name for span in SPANS] + [each.name for each in INSTRUMENTS]
    assert len(names) == len(set(names))
    prefixes = ("sluice.", "http.", "messaging.", "gen_ai.", "url.", "error.", "server.")
    assert all(
        name.startswith(prefixes)
        for name in [each.name for each in INSTRUMENTS] + [each.value for each in Attribute]
    )


def test_a_histogram_has_boundaries_that_rise_and_nothing_else_has_any() -> None:
    for each in INSTRUMENTS:
        assert (each.measure == "histogram") == bool(each.boundaries), each.name
        assert list(each.boundaries) == sorted(set(each.boundaries)), each.name
