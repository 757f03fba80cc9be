"""Sending: a collector that is away, slow or silent holds nothing up, and is tried again."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from devstack.collector import Collector, Fault
from shared.settings import Env, TelemetrySettings
from shared.telemetry import instruments
from shared.telemetry.attributes import Attribute
from shared.telemetry.exporting import (
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    Patience,
    PatientMetrics,
    PatientSpans,
    Settling,
)
from shared.telemetry.spans import CLAIM
from tests.telemetry_kit import recording_to


def settings(url: str, **changes: object) -> TelemetrySettings:
    given = {
        "env": Env.DEV,
        "traces_url": f"{url}/v1/traces",
        "metrics_url": f"{url}/v1/metrics",
        "headers": {},
        "resource": {},
        "sampler": "parentbased_always_on",
        "ratio": 1.0,
        "delta": False,
        "metric_interval_seconds": 0.1,
        "settle_seconds": 20.0,
    }
    return TelemetrySettings(**(given | changes))  # type: ignore[arg-type]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# -- patience


def test_a_collector_that_failed_is_left_alone_for_longer_each_time_and_not_for_ever() -> None:
    clock = Clock()
    patience, pauses = Patience("spans", clock), []
    for _ in range(8):
        patience.tell(taken=False)
        failed_at = clock.now
        while not patience.tries:
            clock.now += 1
        pauses.append(clock.now - failed_at)
    assert pauses[:3] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_collector_that_takes_something_again_is_trusted_again() -> None:
    clock = Clock()
    patience = Patience("spans", clock)
    for taken in (False, False, True, False):
        patience.tell(taken=taken)
    clock.now = PAUSE_SECONDS
    assert patience.tries


def test_the_log_hears_of_the_first_failure_and_of_the_end_and_of_nothing_between(
    caplog: pytest.LogCaptureFixture,
) -> None:
    patience = Patience("spans")
    with caplog.at_level(logging.INFO, "shared"):
        for taken in (True, False, False, False, True, True):
            patience.tell(taken=taken)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


class Away:
    """An exporter of either kind whose collector is away."""

    def __init__(self) -> None:
        self.tries = 0

    def export(self, _batch: object, *_: object) -> None:
        self.tries += 1

    def shutdown(self, *_: object) -> None: ...


@pytest.mark.parametrize("kind", ["traces", "metrics"])
def test_what_comes_while_a_collector_is_left_alone_is_dropped(kind: str) -> None:
    clock, exporter = Clock(), Away()
    patience = Patience(kind, clock)
    patient: Any = (
        PatientSpans(exporter, patience)  # type: ignore[arg-type]
        if kind == "traces"
        else PatientMetrics(exporter, patience, {})  # type: ignore[arg-type]
    )
    for _ in range(3):
        patient.export([])
    assert exporter.tries == 1
    clock.now = PAUSE_SECONDS
    patient.export([])
    assert exporter.tries == 2


# -- settling


def test_settling_waits_until_all_is_sent() -> None:
    sent: list[bool] = []
    Settling(lambda: sent.append(True)).settle(20)
    assert sent == [True]


def test_settling_ends_although_the_collector_says_nothing_and_so_does_the_next() -> None:
    released, tries = threading.Event(), []

    def hang() -> None:
        tries.append(True)
        released.wait(60)

    settling = Settling(hang)
    for _ in range(3):
        settling.settle(0.01)
    assert not released.is_set()
    assert len(tries) == 1
    released.set()


def test_a_collector_that_is_left_alone_is_not_waited_for() -> None:
    sent: list[bool] = []
    Settling(lambda: sent.append(True), lambda: False).settle(20)
    assert sent == []


def test_where_nothing_is_to_be_waited_for_nothing_is_sent_either() -> None:
    sent: list[bool] = []
    Settling(lambda: sent.append(True)).settle(0)
    assert sent == []


def test_a_failure_while_settling_is_nobody_s_but_the_log_s(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("the user's text")

    settling = Settling(fail)
    settling.settle(20)
    settling.settle(20)
    assert "the user's text" not in caplog.text
    assert len(caplog.records) == 2


# -- a collector over HTTP


def test_what_was_taken_is_at_the_collector_once_it_is_settled() -> None:
    with Collector() as collector:
        recording = recording_to(settings(collector.url, resource={"team": "x"}))
        with recording.span(CLAIM, attributes={Attribute.ATTEMPT: 2}):
            pass
        recording.record(instruments.QUEUE_WAIT, 0.3, {Attribute.LANE: "paid_batch"})
        recording.settle()
        [span], [point] = collector.spans, [p for p in collector.points if p.name == "sluice.queue.wait"][-1:]
    assert (span.service, span.name, span.attributes) == ("paid_batch", "claim", {"sluice.attempt": 2})
    assert (point.value, point.count, point.unit) == (0.3, 1, "s")


@pytest.mark.parametrize("fault", [Fault.HANGS, Fault.ANSWERS_500, Fault.ANSWERS_400, None])
def test_whatever_is_wrong_with_the_collector_the_work_goes_on(fault: Fault | None) -> None:
    """None: there is none at all."""
    with Collector(fault=fault) as collector:
        url = collector.url if fault else "http://127.0.0.1:1"
        recording = recording_to(settings(url, settle_seconds=0.05))
        for _ in range(3):
            with recording.span(CLAIM):
                pass
            recording.settle()
        if fault:
            collector.wait_for(lambda: collector.requests > 0)
        assert collector.spans == []


def test_a_sampler_by_ratio_decides_of_what_begins_here_and_a_caller_s_flag_of_the_rest() -> None:
    with Collector() as collector:
        none = recording_to(settings(collector.url, sampler="parentbased_traceidratio", ratio=0.0))
        with none.span(CLAIM):
            pass
        with none.span(CLAIM, parent=f"00-{'a' * 32}-{'b' * 16}-01"):
            pass
        none.settle()
        assert [span.trace_id for span in collector.spans] == ["a" * 32]


def test_where_only_metrics_are_wanted_a_caller_s_trace_is_passed_on_untouched() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    with Collector() as collector:
        recording = recording_to(settings(collector.url, traces_url=None))
        with recording.span(CLAIM, parent=parent) as span:
            assert span.traceparent == parent
        with recording.span(CLAIM) as root:
            assert root.traceparent is None
        recording.add(instruments.SWEPT)
        recording.settle()
        assert collector.spans == []
        assert collector.points
