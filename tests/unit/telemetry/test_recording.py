"""Spans: whose child each is, what it links to, and that no exception's text is ever in one."""

from __future__ import annotations

import contextlib

import pytest

from shared.errors import NotFound, StoreUnavailable
from shared.telemetry import instruments
from shared.telemetry.attributes import Attribute
from shared.telemetry.recording import span_id_of
from shared.telemetry.signals import signals
from shared.telemetry.spans import ADMIT, ATTEMPT, CLAIM, PROCESS, PUBLISH, WRITE
from tests.telemetry_kit import remembering

TRACE, SPAN = "a" * 32, "b" * 16
CALLERS = f"00-{TRACE}-{SPAN}-01"


def test_a_span_within_another_is_its_child() -> None:
    with remembering() as memory:
        with signals().span(PROCESS, "process x") as outer, signals().span(CLAIM):
            pass
        above, below = memory.span("process x"), memory.span("claim")
    assert below.parent is not None
    assert below.parent.span_id == above.context.span_id
    assert outer.traceparent == f"00-{above.context.trace_id:032x}-{above.context.span_id:016x}-01"


def test_a_message_s_trace_goes_on_below_the_span_that_it_carries() -> None:
    with remembering() as memory:
        with signals().span(PROCESS, "process x", parent=CALLERS):
            pass
        span = memory.span("process x")
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)


def test_within_the_task_s_own_trace_what_is_under_way_stands_above() -> None:
    with remembering() as memory:
        with signals().span(PROCESS, "process x", parent=CALLERS), signals().span(PUBLISH, parent=CALLERS):
            pass
        above, below = memory.span("process x"), memory.span(PUBLISH.name)
    assert below.parent is not None
    assert below.parent.span_id == above.context.span_id


def test_what_a_sweep_does_for_a_task_stands_in_the_task_s_trace_and_links_to_the_sweep() -> None:
    with remembering() as memory:
        with signals().span(PROCESS, "sweep"), signals().span(PUBLISH, parent=CALLERS):
            pass
        sweep, publish = memory.span("sweep"), memory.span(PUBLISH.name)
    assert f"{publish.context.trace_id:032x}" == TRACE
    assert [link.context.span_id for link in publish.links] == [sweep.context.span_id]


def test_a_later_attempt_links_to_the_one_before_whoever_made_that() -> None:
    for number in (1, 2):  # each in a process of its own, which knows nothing of the other
        with remembering() as memory:
            before = f"t:0:{number - 1}" if number > 1 else ""
            with (
                signals().span(PROCESS, parent=CALLERS),
                signals().span(ATTEMPT, identity=f"t:0:{number}", follows=before),
            ):
                pass
            span = memory.span("attempt")
        assert span.context.span_id == span_id_of(f"t:0:{number}")
        linked = [(f"{link.context.trace_id:032x}", link.context.span_id) for link in span.links]
        assert linked == ([(TRACE, span_id_of("t:0:1"))] if number > 1 else [])


def test_an_id_that_was_chosen_is_for_one_span_alone() -> None:
    with remembering() as memory:
        with signals().span(ATTEMPT, identity="t:0:1"):
            signals().past(WRITE, 5, 9, {})
        with signals().span(CLAIM):
            pass
        ids = {span.context.span_id for span in memory.spans}
    assert len(ids) == 3


def test_an_exception_is_told_by_code_or_type_and_never_by_its_text() -> None:
    errors = [ValueError("the user's text"), StoreUnavailable("the user's text")]
    with remembering() as memory:
        for error in errors:
            with contextlib.suppress(type(error)), signals().span(CLAIM):
                raise error
        spans = memory.spans
    assert [span.attributes and span.attributes["error.type"] for span in spans] == [
        "ValueError",
        "store_unavailable",
    ]
    assert [span.status.is_ok for span in spans] == [False, False]
    assert "the user's text" not in "".join(span.to_json() for span in spans)


def test_what_is_the_caller_s_doing_is_told_and_no_failure() -> None:
    with remembering() as memory:
        with pytest.raises(NotFound), signals().span(ADMIT):
            raise NotFound
        span = memory.span("admit")
    assert span.attributes == {"error.type": "not_found"}
    assert span.status.is_unset


def test_the_code_that_a_failure_was_told_by_stays() -> None:
    with remembering() as memory:
        with contextlib.suppress(ValueError), signals().span(CLAIM) as span:
            span.fail("provider_timeout")
            raise ValueError
        assert memory.span("claim").attributes == {"error.type": "provider_timeout"}


def test_a_trace_that_nobody_keeps_is_passed_on_as_one() -> None:
    with remembering(sampled=False) as memory:
        with signals().span(PROCESS) as span:
            assert span.traceparent is not None
            assert span.traceparent.endswith("-00")
        with signals().span(PROCESS, parent=f"00-{TRACE}-{SPAN}-00") as below:
            assert below.traceparent is not None
            assert below.traceparent.startswith(f"00-{TRACE}-")
            assert below.traceparent.endswith("-00")
        assert memory.spans == []


def test_a_span_that_is_over_stands_below_the_current_one_with_its_own_times() -> None:
    with remembering() as memory:
        with signals().span(ATTEMPT):
            signals().past(WRITE, 5, 9, {Attribute.WRITES: 3})
        attempt, written = memory.span("attempt"), memory.span("write events")
    assert (written.start_time, written.end_time, written.attributes) == (5, 9, {"sluice.events.writes": 3})
    assert written.parent is not None
    assert written.parent.span_id == attempt.context.span_id


def test_what_is_not_known_is_left_out() -> None:
    told = {Attribute.LANE: "x", Attribute.ERROR: None}
    with remembering() as memory:
        with signals().span(CLAIM, attributes=told) as span:
            span.set(Attribute.OUTCOME, None)
        signals().add(instruments.ATTEMPTS, 2, told)
        assert memory.span("claim").attributes == {"sluice.lane": "x"}
        assert memory.values(instruments.ATTEMPTS) == {frozenset({("sluice.lane", "x")}): 2}
