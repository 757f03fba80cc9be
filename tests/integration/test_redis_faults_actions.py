"""A frontend's request and QStash's callbacks whose Redis fails under them: told to come back, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.proxy import RedisProxy
from devstack.proxy.faults import When
from devstack.valkey import EmbeddedValkey
from shared.state import keys
from tests.integration.http.kit import RESUME, World, data_url
from tests.integration.http.stand_ins import Fault
from tests.integration.redis_faults_kit import each_refusal

LOST_FOR_GOOD = 2
"""How often a connection must break until the store says so."""
each_side = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def proxy(valkey: EmbeddedValkey, redis_url: str) -> Iterator[RedisProxy]:
    with RedisProxy(valkey.port) as running:
        yield running


@pytest.fixture
def world(proxy: RedisProxy, tmp_path: Path) -> Iterator[World]:
    with World(proxy.url, tmp_path) as made:
        yield made


def assert_told_to_come_back(response: httpx.Response) -> None:
    assert (response.status_code, response.json()["error"]) == (503, "store_unavailable")
    assert response.headers["Retry-After"] == str(response.json()["retryAfter"])


def ledger(world: World) -> list[tuple[str, int]]:
    return [(line["kind"], line["delta"]) for line in world.get("/quota").json()["ledger"]]


def open_task(world: World) -> str:
    (task_id,) = world.store.command("ZRANGE", keys.OPEN_TASKS, 0, -1)
    return str(task_id)


# -- a frontend's requests -----------------------------------------------------------------------------------


@each_refusal
def test_a_redis_that_cannot_work_refuses_with_a_time_and_takes_nothing(
    error: str, world: World, proxy: RedisProxy
) -> None:
    """D9, D19, D20, D21: nothing is debited, nothing published, and the key is free."""
    accepted, _ = world.start(key="first")
    before = world.dump()
    proxy.answer("", error, times=None)
    for response in (
        world.ask("upload-resume", {"text": RESUME}, key="second"),
        world.get(f"/tasks/{accepted['taskId']}"),
        world.get("/quota"),
        world.get("/services"),
        world.cancel(accepted["taskId"]),
        world.call_back("sweep"),
    ):
        assert_told_to_come_back(response)
    proxy.heal()
    assert world.dump() == before
    assert len(world.qstash.published) == 1
    assert world.start(key="second")[0]["replay"] is False
    assert world.balance() == 8 - 2


@each_side
def test_a_request_whose_admission_stayed_unanswered_is_the_same_task_when_it_comes_again(
    when: When, world: World, proxy: RedisProxy
) -> None:
    """D20, D21: whether it was admitted or not: with its key it is published and debited once."""
    proxy.cut("admit_task", when=when, times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.ask("upload-resume", {"text": RESUME}, key="k"))
    assert world.qstash.published == []
    accepted, publish = world.start(key="k")
    assert accepted["replay"] is (when == "after")
    world.finish(publish)
    assert len(world.qstash.published) == 1
    assert ledger(world) == [("grant", 8), ("debit", -1)]


def test_an_admission_that_nobody_learnt_of_is_refunded_by_the_next_touch(
    world: World, proxy: RedisProxy
) -> None:
    """D20: nothing was published for it: its coin comes back, and so does its place."""
    proxy.cut("admit_task", when="after", times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.ask("upload-resume", {"text": RESUME}))
    lost = open_task(world)
    assert world.balance() == 8 - 1
    world.make_overdue(lost)
    world.finish(world.start()[1])
    assert (world.record(lost)["errorCode"], world.record(lost)["refunded"]) == ("lost", "1")
    assert sorted(ledger(world)) == [("debit", -1), ("debit", -1), ("grant", 8), ("refund", 1)]
    assert world.places() == 0


@each_side
def test_a_publish_that_redis_was_not_told_of_is_accepted_all_the_same(
    when: When, world: World, proxy: RedisProxy
) -> None:
    proxy.cut("confirm_publish", when=when, times=LOST_FOR_GOOD)
    accepted, publish = world.start()
    world.finish(publish)
    assert world.record(accepted["taskId"])["state"] == "done"
    assert world.balance() == 8 - 1


@each_side
def test_a_failed_publish_that_could_not_be_given_back_is_given_back_by_the_next_touch(
    when: When, world: World, proxy: RedisProxy
) -> None:
    """D15, D20: with QStash and Redis away at once, the coin is refunded once all the same."""
    world.qstash.faults.extend([Fault(500), Fault(500)])
    proxy.cut("fail_task", when=when, times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.ask("upload-resume", {"text": RESUME}, key="k"))
    if when == "before":
        world.make_overdue(open_task(world))
        assert world.call_back("sweep").json()["outcomes"] == {"lost": 1}
    assert ledger(world) == [("grant", 8), ("debit", -1), ("refund", 1)]
    assert world.places() == 0
    assert world.start(key="k")[0]["replay"] is False


@each_side
def test_a_cancel_that_stayed_unanswered_may_be_sent_again_and_refunds_once(
    when: When, world: World, proxy: RedisProxy
) -> None:
    """D15."""
    accepted, publish = world.start()
    proxy.cut("cancel_task", when=when, times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.cancel(accepted["taskId"]))
    assert world.cancel(accepted["taskId"]).json()["state"] == "cancelled"
    assert ledger(world) == [("grant", 8), ("debit", -1), ("refund", 1)]
    assert world.deliver(publish).json() == {"status": "duplicate"}


# -- QStash's callbacks --------------------------------------------------------------------------------------


@each_side
@pytest.mark.parametrize("script", ["read_task", "begin_publish", "confirm_publish"])
def test_a_step_callback_that_redis_failed_is_called_again_and_publishes_one_message(
    script: str, when: When, world: World, proxy: RedisProxy
) -> None:
    """D11, D17: the second step is published once, however often its callback comes."""
    world.with_resume()
    accepted, vision = world.start("create-service", {"jobImage": data_url()})
    world.finish(vision)
    proxy.cut(script, when=when, times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.report("step", vision))
    assert world.report("step", vision).status_code == 200
    assert world.report("step", vision).json()["status"] == "nothing_to_do"
    assert deduplication_ids(world, accepted) == ["0.1", "1.1"]
    world.finish(world.qstash.published[-1])
    assert world.record(accepted["taskId"])["state"] == "done"
    assert world.balance() == 8 - 1 - 2


@each_side
@pytest.mark.parametrize("script", ["read_task", "requeue_task", "confirm_publish"])
def test_a_failure_callback_that_redis_failed_is_called_again_and_publishes_one_message(
    script: str, when: When, world: World, proxy: RedisProxy
) -> None:
    """D12: one new message for one that QStash gave up on."""
    accepted, publish = world.start()
    proxy.cut(script, when=when, times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.report("failure", publish, status=429))
    assert world.report("failure", publish, status=429).status_code == 200
    assert world.report("failure", publish, status=429).json()["status"] == "published"
    assert deduplication_ids(world, accepted) == ["0.1", "0.2"]
    world.finish(world.qstash.published[-1])
    assert world.balance() == 8 - 1


@each_side
@pytest.mark.parametrize("script", ["list_overdue", "read_task", "sweep_task"])
def test_a_sweep_that_redis_failed_is_called_again_and_refunds_once(
    script: str, when: When, world: World, proxy: RedisProxy
) -> None:
    """D15."""
    accepted, _ = world.start()
    world.make_overdue(accepted["taskId"])
    proxy.cut(script, when=when, times=LOST_FOR_GOOD)
    assert_told_to_come_back(world.call_back("sweep"))
    assert world.call_back("sweep").status_code == 200
    assert world.record(accepted["taskId"])["errorCode"] == "lost"
    assert ledger(world) == [("grant", 8), ("debit", -1), ("refund", 1)]


def deduplication_ids(world: World, accepted: dict[str, Any]) -> list[str]:
    """Return step and number of each message of a task that QStash has."""
    return [
        publish.deduplication_id.partition(".")[2]
        for publish in world.qstash.published
        if publish.message["taskId"] == accepted["taskId"]
    ]
