"""Whoever a full queue refused and who comes back at the time that they were told finds a place."""

from __future__ import annotations

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, Lane
from shared.state import keys
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, Job

INTERVAL_MS = 2000
PROMISED = keys.promised(Lane.PAID_STREAM)


@pytest.fixture
def bench(store: Store) -> Bench:
    """Three places, and a step that ends every two seconds."""
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "3"})
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", INTERVAL_MS)
    return bench


@pytest.fixture
def jobs(bench: Bench) -> list[Job]:
    return [bench.admit(f"first-{i}") for i in range(3)]


def let_pass(bench: Bench, seconds: float) -> None:
    """Move every promise into the past, as if that time had gone by."""
    held = bench.store.command("ZRANGE", PROMISED, 0, -1, "WITHSCORES")
    for member, score in zip(held[::2], held[1::2], strict=True):
        bench.store.command("ZADD", PROMISED, int(float(score) - seconds * 1000), member)


def refused(bench: Bench, user: str) -> int:
    answer = bench.ask(user)
    assert answer.status == "queue_full"
    assert answer.retry_after_seconds is not None
    return answer.retry_after_seconds


@pytest.mark.usefixtures("jobs")
def test_a_crowd_is_told_to_come_one_after_the_other(bench: Bench) -> None:
    """As fast as the queue drains, and not all at once."""
    assert [refused(bench, f"late-{i}") for i in range(5)] == [2, 4, 6, 8, 10]


@pytest.mark.usefixtures("jobs")
def test_asking_before_the_time_moves_nobodys_place(bench: Bench) -> None:
    assert refused(bench, "late-0") == 2
    assert [refused(bench, "late-1") for _ in range(5)] == [4] * 5
    assert refused(bench, "late-2") == 6
    let_pass(bench, 1.5)
    assert refused(bench, "late-1") == 3


def test_a_place_is_kept_for_who_comes_when_told(bench: Bench, jobs: list[Job]) -> None:
    seconds = refused(bench, "late")
    bench.cancel(jobs[0])
    let_pass(bench, seconds)
    assert refused(bench, "newcomer") > 0
    assert bench.ask("late").status == "accepted"
    assert bench.store.command("ZSCORE", PROMISED, _member("late")) is None


def test_who_was_told_to_come_earlier_goes_first(bench: Bench, jobs: list[Job]) -> None:
    refused(bench, "early")
    second = refused(bench, "second")
    bench.cancel(jobs[0])
    let_pass(bench, second)
    assert bench.ask("second").status == "queue_full"
    assert bench.ask("early").status == "accepted"


def test_who_came_in_time_for_nothing_goes_before_all_the_others(bench: Bench, jobs: list[Job]) -> None:
    first = refused(bench, "unlucky")
    for i in range(5):
        refused(bench, f"later-{i}")
    let_pass(bench, first)
    again = refused(bench, "unlucky")
    assert again == 2
    bench.cancel(jobs[0])
    let_pass(bench, again)
    assert bench.ask("unlucky").status == "accepted"


def test_a_place_is_not_kept_for_ever(bench: Bench, jobs: list[Job]) -> None:
    seconds = refused(bench, "gone")
    bench.cancel(jobs[0])
    let_pass(bench, seconds + 5.1 + INTERVAL_MS / 1000)
    assert bench.ask("newcomer").status == "accepted"


def test_a_crowd_that_never_comes_does_not_keep_everybody_out(store: Store) -> None:
    """A quarter of the places stays for whoever comes: the lane behind the queue goes on working."""
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "8"})
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", 100)
    jobs = [bench.admit(f"first-{i}") for i in range(8)]
    for i in range(40):
        refused(bench, f"gone-{i}")
    for job in jobs[:7]:
        bench.cancel(job)
    let_pass(bench, 4.1)
    assert [bench.ask(f"new-{i}").status for i in range(3)] == ["accepted", "queue_full", "queue_full"]


def test_an_empty_queue_keeps_nothing(store: Store) -> None:
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "1"})
    job = bench.admit("first")
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", INTERVAL_MS)
    seconds = refused(bench, "late")
    bench.cancel(job)
    let_pass(bench, seconds)
    assert bench.ask("newcomer").status == "accepted"


@pytest.mark.usefixtures("jobs")
def test_nothing_is_promised_before_anything_was_measured(bench: Bench) -> None:
    """The five seconds of the contract are a guess, and no promise."""
    bench.store.command("DEL", keys.QUEUE_RATES)
    assert [refused(bench, f"late-{i}") for i in range(3)] == [5, 5, 5]
    assert bench.store.command("EXISTS", PROMISED) == 0


@pytest.mark.usefixtures("jobs")
def test_nobody_is_told_to_wait_for_longer_than_five_minutes(bench: Bench) -> None:
    bench.store.command("ZADD", PROMISED, bench.now_ms() + 10**6, "somebody")
    assert refused(bench, "late") == 300


@pytest.mark.usefixtures("jobs")
def test_promises_go_by_themselves_and_name_nobody(bench: Bench) -> None:
    for i in range(3):
        refused(bench, f"late-{i}")
    assert 0 < bench.store.command("PTTL", PROMISED) <= 3 * INTERVAL_MS + 5000 + INTERVAL_MS
    assert "late" not in str(bench.store.command("ZRANGE", PROMISED, 0, -1))


@pytest.mark.usefixtures("jobs")
def test_a_promise_in_a_later_queue_takes_no_place_in_the_first(bench: Bench) -> None:
    """D3: the image branch is refused by its second queue, and holds nothing in its first."""
    answer = bench.ask("late", CREATE_SERVICE_IMAGE)
    assert (answer.status, answer.queue_id) == ("queue_full", Lane.PAID_STREAM)
    assert bench.places(Lane.PAID_VISION) == []
    assert bench.store.command("ZCARD", keys.promised(Lane.PAID_VISION)) == 0


@pytest.mark.usefixtures("jobs")
def test_a_refusal_that_is_sent_twice_promises_once(bench: Bench) -> None:
    """The store sends a script again when its answer was lost."""
    refused(bench, "late")
    before = bench.dump()
    refused(bench, "late")
    assert bench.dump() == before


def test_when_the_crowd_comes_as_told_everybody_gets_in_at_the_next_try(
    bench: Bench, jobs: list[Job]
) -> None:
    """Newcomers all along, ten for each place that is given back."""
    waiting = {f"late-{i}": refused(bench, f"late-{i}") for i in range(8)}
    assert list(waiting.values()) == [2, 4, 6, 8, 10, 12, 14, 16]
    for turn, user in enumerate(waiting):
        bench.cancel(jobs[turn])
        let_pass(bench, INTERVAL_MS / 1000)
        assert {bench.ask(f"new-{turn}-{n}").status for n in range(10)} == {"queue_full"}
        jobs.append(bench.admit(user, CREATE_SERVICE_TEXT))


def _member(user: str) -> str:
    return keys.quota(user).split(":")[1]
