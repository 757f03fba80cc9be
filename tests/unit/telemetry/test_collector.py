"""The collector's stand-in prints a trace as a tree, and keeps nothing that it has handed over."""

from __future__ import annotations

from devstack.collector import CollectedSpan, Collector, tree
from shared.telemetry.spans import ATTEMPT, CLAIM
from tests.telemetry_kit import recording_to
from tests.unit.telemetry.test_exporting import settings


def span(span_id: str, parent_id: str, name: str, *, began_ms: int, failed: bool = False) -> CollectedSpan:
    about = {"error.type": "timeout"} if failed else {"sluice.outcome": "done"}
    return CollectedSpan(
        trace_id="t",
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        kind="internal",
        service="lane",
        attributes=about,
        links=(),
        failed=failed,
        said="",
        began_ns=began_ms * 1_000_000,
        ended_ns=(began_ms + 5) * 1_000_000,
    )


def test_each_span_stands_below_its_parent_in_the_order_of_time_whatever_order_they_came_in() -> None:
    came = [
        span("c", "a", "second", began_ms=30, failed=True),
        span("b", "a", "first", began_ms=20),
        span("a", "of-the-caller", "root", began_ms=10),
    ]
    assert [" ".join(line.split()) for line in tree(came)] == [
        "0 ms 5 ms root lane done",
        "10 ms 5 ms first lane done",
        "20 ms 5 ms ✗ second lane timeout",
    ]


def test_what_was_taken_from_it_is_kept_no_longer() -> None:
    with Collector() as collector:
        recording = recording_to(settings(collector.url))
        with recording.span(ATTEMPT), recording.span(CLAIM):
            pass
        recording.settle()
        assert {each.name for each in collector.take()} == {"attempt", "claim"}
        assert (collector.spans, collector.raw) == ([], [])
