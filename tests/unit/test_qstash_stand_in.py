"""The stand-in's arithmetic: durations, retry delays, back-off, cron, flow control values."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from devstack.qstash.backoff import default_backoff_seconds, next_delay_seconds
from devstack.qstash.clock import Clock
from devstack.qstash.cron import parse_cron
from devstack.qstash.durations import parse_duration_seconds, parse_reset_seconds
from devstack.qstash.flow import FlowControl, FlowGate, parse_flow_control
from devstack.qstash.instructions import Instructions, parse_instructions
from devstack.qstash.publishing import destination_url
from devstack.qstash.retry_delay import LONGEST_MS, evaluate_ms


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1d1h30m", 91_800), ("6m5s", 365), ("250ms", 0.25), ("1.5h", 5400), ("90", 90), ("0s", 0)],
)
def test_a_duration_is_read_in_gos_notation(text: str, seconds: float) -> None:
    assert parse_duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "10 s", "1w", "1s1", "NaN"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration_seconds(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12), ("6m5s", 365), ("Wed, 21 Oct 2015 07:28:00 GMT", 60), ("soon", None), ("", None)],
)
def test_a_reset_is_seconds_a_date_or_a_duration(text: str, seconds: float | None) -> None:
    now = dt.datetime(2015, 10, 21, 7, 27, tzinfo=dt.UTC).timestamp()
    assert parse_reset_seconds(text, now) == seconds


def test_the_documented_back_off_ends_at_a_day() -> None:
    delays = [default_backoff_seconds(retried) for retried in (0, 1, 2, 3, 4, 1000)]
    assert delays == pytest.approx([12.18, 148.4, 1808, 22_026, 86_400, 86_400], rel=1e-3)


def test_the_answer_decides_before_the_publisher_and_the_publisher_before_the_default() -> None:
    assert next_delay_seconds({"retry-after": "0"}, "1000", 0, 0.0) == 0
    assert next_delay_seconds({"retry-after": "86401"}, "1000", 0, 0.0) == 1
    assert next_delay_seconds({}, None, 1, 0.0) == default_backoff_seconds(1)


@pytest.mark.parametrize(
    ("expression", "delays_ms"),
    [
        ("1000", [1000, 1000, 1000]),
        ("1000 * (1 + retried)", [1000, 2000, 3000]),
        ("min(60000, 1000 * pow(2, retried))", [1000, 2000, 4000]),
        ("max(10, round(sqrt(abs(-retried)))) - 20 % 7", [4, 4, 4]),
        ("floor(1.9) + ceil(0.1) + exp(0)", [3, 3, 3]),
        ("-5", [0, 0, 0]),
        ("pow(10, 400)", [LONGEST_MS] * 3),
        ("1e999", [LONGEST_MS] * 3),
    ],
)
def test_a_retry_delay_is_arithmetic_over_retried(expression: str, delays_ms: list[float]) -> None:
    assert [evaluate_ms(expression, retried) for retried in range(3)] == pytest.approx(delays_ms)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "retried.__class__",
        "__import__('os')",
        "open('x')",
        "n",
        "1 if retried else 2",
        "1/0",
        "True",
        "(" * 300,
    ],
)
def test_a_retry_delay_is_nothing_else(expression: str) -> None:
    with pytest.raises(ValueError, match="invalid retry delay expression"):
        evaluate_ms(expression, 0)


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        ("*/5 * * * *", "2026-11-24T12:03:10", "2026-11-24T12:05:00"),
        ("*/5 * * * *", "2026-11-24T12:05:00", "2026-11-24T12:10:00"),
        ("0 9-17/4 * * 1-5", "2026-11-27T18:00:00", "2026-11-30T09:00:00"),
        ("30 0 1,15 * *", "2026-12-15T00:30:00", "2027-01-01T00:30:00"),
        ("0 0 29 2 *", "2026-11-24T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * 7", "2026-12-01T00:00:00", "2026-12-06T00:00:00"),
        ("CRON_TZ=Asia/Shanghai 0 8 * * *", "2026-11-24T00:30:00", "2026-11-25T00:00:00"),
    ],
)
def test_a_cron_names_its_next_minute(expression: str, now: str, expected: str) -> None:
    def seconds(text: str) -> float:
        return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()

    assert parse_cron(expression).next_after(seconds(now)) == seconds(expected)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "60 * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "0 0 30 2 *",
        "CRON_TZ=Mars/X * * * * *",
    ],
)
def test_a_cron_that_is_malformed_or_never_comes_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron|time zone"):
        parse_cron(expression)


def test_a_flow_control_is_a_parallelism_a_rate_or_both() -> None:
    assert parse_flow_control("k", "parallelism=3, rate=4, period=2m") == FlowControl("k", 3, 4, 120.0)
    assert parse_flow_control("k", "rate=4") == FlowControl("k", None, 4, 1.0)


@pytest.mark.parametrize(
    "value", ["", "3", "parallelism=0", "parallelism=x", "speed=1,rate=1", "rate=1,period=8d"]
)
def test_any_other_flow_control_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"Flow-Control|period"):
        parse_flow_control("k", value)


def test_a_message_cancelled_at_the_moment_it_is_let_in_gives_its_place_back() -> None:
    async def story() -> FlowGate:
        gate = FlowGate("k", Clock(1))
        gate.paused = True

        async def pass_through() -> None:
            async with gate.place():
                raise AssertionError("it was cancelled before")

        async def let_in_and_cancel() -> None:
            gate.paused = False
            gate.admit()
            assert gate.in_flight == 1
            passing.cancel()

        passing = asyncio.create_task(pass_through())
        await asyncio.gather(passing, let_in_and_cancel(), return_exceptions=True)
        assert passing.cancelled()
        return gate

    gate = asyncio.run(story())
    assert (gate.in_flight, gate.waiting) == (0, 0)


def test_headers_that_are_not_instructions_stay_behind_unless_forwarded() -> None:
    headers = {
        "authorization": "Bearer t",
        "x-mine": "1",
        "content-type": "a/b",
        "upstash-forward-x-yours": "2",
    }
    instructions = parse_instructions(headers)
    assert instructions.forward == {"content-type": "a/b", "x-yours": "2"}
    assert "authorization" not in instructions.given


def test_a_timeout_can_only_shorten_the_plans_limit() -> None:
    limit = Instructions().timeout_seconds
    assert parse_instructions({"upstash-timeout": "30s"}).timeout_seconds == 30
    assert parse_instructions({"upstash-timeout": "1d"}).timeout_seconds == limit


def test_a_destination_loses_its_fragment_and_keeps_its_query() -> None:
    assert destination_url("https://h/a//b#c", "x=1") == "https://h/a//b?x=1"
    assert destination_url("HTTP%3A%2F%2Fh%2Fa%3Fx%3D1", "y=2") == "HTTP://h/a?x=1&y=2"


def test_a_time_scale_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="time scale"):
        Clock(0)
