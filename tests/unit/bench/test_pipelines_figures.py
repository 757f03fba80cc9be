"""From readings to figures: quantiles, counts, goals within one run, and a break-down that adds up."""

from __future__ import annotations

import time

import pytest

from bench.figures import Figure
from bench.pipelines import figures as f
from bench.pipelines.breakdown import STRETCHES, Write, added, middle_means, parse_writes, stretches_ms
from bench.pipelines.client import Failed
from bench.pipelines.counters import count_calls
from bench.pipelines.kills import PACE, Loss
from bench.pipelines.load import quantile
from bench.pipelines.reading import Reading, Token

MS = 1_000_000


def collection(*values: tuple[str, str, str, float]) -> dict[tuple[str, str], Figure]:
    collected = f.Collection()
    for section, name, subject, value in values:
        collected.add(section, name, "ms", subject, value)
    return {(figure.name, figure.subject): figure for figure in collected.figures()}


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.51, 3), (0.75, 3), (0.99, 4), (1.0, 4)])
def test_a_quantile_is_the_smallest_value_that_the_share_is_not_above(share: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], share) == value


def test_commands_are_all_calls_but_those_that_measure() -> None:
    said = "# Commandstats\r\ncmdstat_xadd:calls=7,usec=9\r\ncmdstat_info:calls=5,usec=1\r\ncmdstat_client|setname:calls=2,usec=1\r\n"
    assert count_calls(said) == 9


def test_time_to_first_token_is_held_to_twice_the_best_peer() -> None:
    found = collection(
        (f.ALONE, f.FIRST_P50, f.OWN, 9.0),
        (f.ALONE, f.FIRST_P50, "celery", 6.0),
        (f.ALONE, f.FIRST_P50, "taskiq", 4.0),
        (f.ALONE, f.FIRST_P50, "direct", 1.0),
    )
    goal = found[f.FIRST_P50, f.OWN].goal
    assert goal is not None
    assert goal.at_most == 8.0
    assert found[f.FIRST_P50, f.OWN].is_met is False
    assert found[f.FIRST_P50, "celery"].goal is None


@pytest.mark.parametrize(("speed", "met"), [(24.0, True), (23.9, False)])
def test_full_speed_is_held_to_four_times_celery_alone(speed: float, met: bool) -> None:
    found = collection(
        (f.FULL_SPEED, f.SPEED, f.OWN, speed),
        (f.FULL_SPEED, f.SPEED, "celery", 6.0),
        (f.FULL_SPEED, f.SPEED, "taskiq", 9.0),
    )
    assert found[f.SPEED, f.OWN].is_met is met


def test_without_merging_the_latency_is_held_to_the_best_peer_and_with_it_to_the_interval() -> None:
    found = collection(
        (f.PACED, f.TOKEN_P99, f.OWN, 110.5),
        (f.PACED, f.TOKEN_P99, f.UNMERGED, 5.0),
        (f.PACED, f.TOKEN_P99, "celery", 6.0),
    )
    assert found[f.TOKEN_P99, f.OWN].is_met is False
    assert found[f.TOKEN_P99, f.UNMERGED].is_met is True


def test_a_goal_is_computed_from_medians_of_all_rounds() -> None:
    found = collection(
        *((f.FULL_SPEED, f.SPEED, "celery", value) for value in (1.0, 5.0, 100.0)),
        (f.FULL_SPEED, f.SPEED, f.OWN, 20.0),
    )
    assert found[f.SPEED, f.OWN].is_met is True


def test_sections_and_subjects_have_one_order_and_rows_that_of_their_coming() -> None:
    collected = f.Collection()
    for section, name, subject in (
        (f.KILLED, "first", f.OWN),
        (f.ALONE, "second", "celery"),
        (f.ALONE, "first", f.OWN),
        (f.ALONE, "second", f.OWN),
    ):
        collected.add(section, name, "ms", subject, 1.0)
    found = [(figure.section, figure.name, figure.subject) for figure in collected.figures()]
    assert found == [
        (f.ALONE, "second", f.OWN),
        (f.ALONE, "second", "celery"),
        (f.ALONE, "first", f.OWN),
        (f.KILLED, "first", f.OWN),
    ]


def reading_of(*indices: int, end: str | None) -> Reading:
    return Reading(0, 0, [Token(index, 0, 0) for index in indices], end=end)


def test_a_loss_tells_shares_of_all_tokens_and_who_was_left_waiting() -> None:
    whole = reading_of(*range(PACE.tokens), end="done")
    half = reading_of(*range(PACE.tokens // 2), end=None)
    twice = reading_of(*range(PACE.tokens), *range(PACE.tokens), end="done")
    loss = Loss([whole, half, half, half])
    assert (loss.lost_percent, loss.doubled_percent, loss.waiting, loss.whole) == (37.5, 0.0, 3, 1)
    assert (Loss([twice]).doubled_percent, Loss([twice]).whole) == (100.0, 0)


MONITORED = (
    b'+100.000500 [0 lua] "XADD" "cs:events:user:with:colon:service:abc" "NOMKSTREAM" "1-0" "e" "{}"\r\n'
    b'+100.000600 [0 127.0.0.1:1] "XREAD" "cs:events:u:s:abc" "0"\r\n'
    b'+100.001000 [0 127.0.0.1:1] "xadd" "cs:events:u:s:abc" "1-1" "e" "{\\"type\\":\\"token_batch\\"}"\r\n'
)


def test_redis_log_gives_the_writes_of_streams_with_their_task() -> None:
    assert parse_writes(MONITORED) == [
        Write("abc", 100_000_500_000, is_batch=False),
        Write("abc", 100_001_000_000, is_batch=True),
    ]


def test_the_stretches_add_up_to_the_added_time_to_first_token() -> None:
    offset_ns = time.time_ns() - time.monotonic_ns()
    reading = Reading(0, 40 * MS, [Token(0, 90 * MS, 97 * MS)])
    wall = [round((offset_ns + at * MS) / MS) for at in (10, 15, 20, 30, 93)]
    writes = [
        Write("a", wall[0] * MS, is_batch=False),
        Write("a", wall[3] * MS, is_batch=False),
        Write("a", wall[4] * MS, is_batch=True),
    ]
    journal = [  # newest first, as the broker tells it; a second delivery is no part of the first token's way
        {"taskId": "a", "state": "ACTIVE", "time": wall[4] + 500},
        {"taskId": "b", "state": "ACTIVE", "time": wall[0]},
        {"taskId": "a", "state": "ACTIVE", "time": wall[2]},
        {"taskId": "a", "state": "CREATED", "time": wall[1]},
    ]
    each = stretches_ms("a", reading, writes, journal)
    assert added(each) == pytest.approx(reading.added_first_ms)
    assert each == pytest.approx((10, 5, 5, 10, 10, 50, 3, 4), abs=1.5)
    assert len(each) == len(STRETCHES)


def test_the_middle_half_of_answers_adds_up_and_leaves_out_the_odd_ones() -> None:
    answers = [(at, 1.0, 0, 0, 0, 50.0, 0, 0) for at in (100.0, 2.0, 4.0, 0.0)]
    means = middle_means(answers)
    assert means == (3.0, 1.0, 0, 0, 0, 50.0, 0, 0)
    assert added(means) == 4.0


def test_a_timestamp_that_is_not_there_is_told() -> None:
    with pytest.raises(Failed, match="task a: 0 writes"):
        stretches_ms("a", Reading(0, 0, [Token(0, 0, 0)]), [], [])
