"""A delivery whose Redis fails under it: what was stored counts, what was not is done again, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.proxy import RedisProxy
from devstack.proxy.faults import When
from devstack.valkey import EmbeddedValkey
from shared.errors import PermanentTaskError, RetryableTaskError
from shared.llm.runner import Outcome
from tests.integration.http.kit import JOB, World
from tests.integration.http.stand_ins import MATCH_TEXT, Published, Running, failing, succeed, wait_for

LOST_FOR_GOOD = 2
"""How often a connection must break until the store says so."""
ERRORS = (
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "OOM command not allowed when used memory > 'maxmemory'.",
)


@pytest.fixture
def proxy(own_valkey: EmbeddedValkey) -> Iterator[RedisProxy]:
    with RedisProxy(own_valkey.port) as running:
        yield running


@pytest.fixture
def world(proxy: RedisProxy, tmp_path: Path) -> Iterator[World]:
    with World(proxy.url, tmp_path, {"LEASE_SECONDS": "1"}) as made:
        yield made


@pytest.fixture
def match(world: World) -> Published:
    """A published match: its user had 8 coins, and has paid 1 and 2."""
    world.with_resume()
    return world.start("create-service", {"jobText": JOB})[1]


def assert_done_once(world: World, match: Published, *, attempt: int) -> None:
    """One outcome, one debit, the text of the attempt that ended it, and nothing left taken."""
    task_id = match.message["taskId"]
    record = world.record(task_id)
    assert (record["state"], record["attempt"]) == ("done", str(attempt))
    assert world.text(task_id) == MATCH_TEXT
    assert world.event_types(task_id).count("done") == 1
    assert world.balance() == 8 - 1 - 2
    assert (world.slot_holders(), world.places()) == (0, 0)
    assert world.deliver(match).json() == {"status": "duplicate"}


def deliver_until_done(world: World, match: Published) -> None:
    """Deliver again, as QStash does, until the task is done; a lease that nobody renews lapses meanwhile."""
    wait_for(lambda: world.deliver(match).json() == {"status": "done"})


# -- one transition of a delivery ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.split()[0])
def test_a_redis_that_cannot_work_takes_no_delivery(
    error: str, world: World, match: Published, proxy: RedisProxy
) -> None:
    """D9."""
    calls_before = len(world.model.calls)
    proxy.answer("claim_task", error, times=None)
    answer = world.deliver(match)
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert len(world.model.calls) == calls_before
    proxy.heal()
    world.finish(match)
    assert_done_once(world, match, attempt=1)


@pytest.mark.parametrize(
    "script",
    ["claim_task", "finish_task", "XADD"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_one_broken_connection_is_not_noticed(
    script: str, when: When, world: World, match: Published, proxy: RedisProxy
) -> None:
    lost = proxy.cut(script, when=when)
    world.finish(match)
    assert lost.hits == 1
    assert_done_once(world, match, attempt=1)


@pytest.mark.parametrize(("when", "attempt"), [("before", 1), ("after", 2)])
def test_a_claim_that_nobody_learnt_of_is_taken_over_when_its_lease_lapses(
    when: When, attempt: int, world: World, match: Published, proxy: RedisProxy
) -> None:
    """D2, D16: the slot of a claim whose reply was lost comes back; until then nobody else runs the task."""
    proxy.cut("claim_task", when=when, times=LOST_FOR_GOOD)
    assert world.deliver(match).status_code == 503
    deliver_until_done(world, match)
    assert_done_once(world, match, attempt=attempt)


@pytest.mark.parametrize(("when", "status", "attempt"), [("before", 503, 2), ("after", 200, 1)])
def test_an_end_whose_reply_is_lost_is_neither_claimed_nor_repeated(
    when: When, status: int, attempt: int, world: World, match: Published, proxy: RedisProxy
) -> None:
    """D16, D18: `done` is answered by what Redis holds, not by what was sent."""
    proxy.cut("finish_task", when=when, times=LOST_FOR_GOOD)
    assert world.deliver(match).status_code == status
    if attempt == 2:
        assert world.record(match.message["taskId"])["state"] == "queued"
        world.finish(match)
    assert_done_once(world, match, attempt=attempt)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_attempt_that_can_neither_finish_nor_be_given_back_is_repeated_after_its_lease(
    when: When, world: World, match: Published, proxy: RedisProxy
) -> None:
    proxy.cut("finish_task", times=LOST_FOR_GOOD)
    proxy.cut("release_attempt", when=when, times=LOST_FOR_GOOD)
    answer = world.deliver(match)
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    deliver_until_done(world, match)
    assert_done_once(world, match, attempt=2)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_of_the_provider_with_redis_away_too_is_still_retried(
    when: When, world: World, match: Published, proxy: RedisProxy
) -> None:
    world.model.acts.append(failing(RetryableTaskError("provider_error", "It broke.")))
    proxy.cut("release_attempt", when=when, times=LOST_FOR_GOOD)
    assert world.deliver(match).status_code == 503
    deliver_until_done(world, match)
    assert_done_once(world, match, attempt=2)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_permanent_fault_whose_end_is_lost_still_ends_the_task_and_refunds_once(
    when: When, world: World, match: Published, proxy: RedisProxy
) -> None:
    """D15, D18."""
    refused = failing(PermanentTaskError("provider_refused", "No."))
    world.model.acts.extend([refused] * 2)
    proxy.cut("fail_task", when=when, times=LOST_FOR_GOOD)
    assert world.deliver(match).status_code == 503
    wait_for(lambda: world.deliver(match).status_code in {200, 489})
    record = world.record(match.message["taskId"])
    assert (record["state"], record["errorCode"], record["refunded"]) == ("failed", "provider_refused", "1")
    assert world.balance() == 8 - 1
    assert (world.slot_holders(), world.places()) == (0, 0)


# -- in mid-stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_batch_that_stays_unanswered_is_sent_again_and_stored_once(
    nth: int, when: When, world: World, match: Published, proxy: RedisProxy
) -> None:
    """D29: the writer sends it again under the same id, as often as it takes."""
    lost = proxy.cut("XADD", when=when, nth=nth, times=LOST_FOR_GOOD * 2)

    def batch_by_batch(running: Running) -> Outcome:
        for count, word in enumerate(re.findall(r"\S+\s*", MATCH_TEXT), start=1):
            running.on_text(word)
            wait_for(lambda: world.event_types(match.message["taskId"]).count("token_batch") == count)  # noqa: B023
        return succeed(replace(running, on_text=lambda _: None))

    world.model.acts.append(batch_by_batch)
    world.finish(match)
    assert lost.hits == lost.times
    assert_done_once(world, match, attempt=1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lease_is_kept_across_a_broken_connection(
    when: When, world: World, match: Published, proxy: RedisProxy
) -> None:
    lost = proxy.cut("renew_lease", when=when, times=LOST_FOR_GOOD)

    def renewed_twice(running: Running) -> Outcome:
        wait_for(lambda: lost.hits == LOST_FOR_GOOD and proxy.passed("renew_lease") > LOST_FOR_GOOD)
        return succeed(running)

    world.model.acts.append(renewed_twice)
    world.finish(match)
    assert_done_once(world, match, attempt=1)


def test_with_redis_gone_in_mid_stream_the_attempt_ends_retryable_and_is_repeated(
    world: World, match: Published, proxy: RedisProxy
) -> None:
    """D9, D18: the model's call is closed once the lease cannot be held, and nothing is said to be done."""

    def lose_redis(running: Running) -> Outcome:
        running.on_text("what no reader may keep ")
        wait_for(lambda: "token_batch" in world.event_types(match.message["taskId"]))
        proxy.refuse()
        running.wait_until_stopped()
        raise AssertionError("it was to be stopped")

    world.model.acts.append(lose_redis)
    answer = world.deliver(match)
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    proxy.resume()
    deliver_until_done(world, match)
    assert_done_once(world, match, attempt=2)


def test_with_memory_full_in_mid_stream_the_attempt_is_given_back_and_no_other_begins(
    world: World, match: Published, own_valkey: EmbeddedValkey
) -> None:
    """D6: the slot is free at once; no attempt is used up, and no model called, before there is room again."""
    world.store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def fill_redis(running: Running) -> Outcome:
        world.store.command("CONFIG", "SET", "maxmemory", 1)
        running.on_text("what there is no room for ")
        running.wait_until_stopped()
        raise AssertionError("it was to be stopped")

    world.model.acts.append(fill_redis)
    answer = world.deliver(match)
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    assert world.record(match.message["taskId"])["state"] == "queued"
    assert world.slot_holders() == 0
    calls = len(world.model.calls)
    assert world.deliver(match).status_code == 503
    assert len(world.model.calls) == calls

    world.store.command("CONFIG", "SET", "maxmemory", 0)
    world.finish(match)
    assert_done_once(world, match, attempt=2)
