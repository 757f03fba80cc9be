"""What is killed, lost or away: the task still ends, once, and nothing is charged for nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from devstack.frontend import JOB, RESUME, Frontend, Reader, assert_at_rest, until
from devstack.stack import Stack
from shared.routing import Lane
from shared.state import keys

SLOT_KEY = "lock:model:deepseek-chat:paid"


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    overrides = {
        "LEASE_SECONDS": "1",
        "WORKER_TIMEOUT_SECONDS": "20",
        "MAX_WAIT_SECONDS_STREAM": "25",
        "MAX_WAIT_SECONDS_BATCH": "25",
        "DEEPSEEK_MAX_WORKERS": "2",
    }
    with Stack(
        overrides=overrides,
        sleeping=Lane,
        build_folder=build_folder,
        first_token_ms=100,
        tokens_per_second=250,
        qstash_time_scale=0.1,
    ) as running:
        yield running


@pytest.fixture
def someone(stack: Stack, user: str) -> Iterator[Frontend]:
    yield Frontend(stack, user)
    stack.qstash.faults.clear()
    stack.llm.heal()


def test_a_lane_killed_in_mid_stream_is_replaced_and_the_text_is_whole(
    stack: Stack, someone: Frontend
) -> None:
    """D2, D16: the dead worker's slot comes back, a second attempt starts its text anew, one debit, one end."""
    someone.with_resume()
    accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    reader = Reader(accepted["streamUrl"])
    reader.wait_for("token_batch")
    stack.kill("paid_stream")
    stack.restart("paid_stream")

    reader.wait()
    assert reader.types[-1] == "done"
    assert [e["attempt"] for e in reader.all if e["type"] == "start"] == [1, 2]
    assert reader.text == someone.status(accepted)["result"]["text"]
    assert someone.balance() == 8 - 1 - 2
    assert_at_rest(stack)


def test_cancel_stops_the_model_and_refunds_once(stack: Stack, someone: Frontend) -> None:
    """D15: the provider call is closed, the slot is back, a second cancel changes nothing."""
    someone.with_resume()
    closed_before = stack.llm.state["closedEarly"]
    accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    reader = Reader(accepted["streamUrl"])
    reader.wait_for("token_batch")

    answers = [someone.post(f"/tasks/{accepted['taskId']}/cancel").json()["state"] for _ in range(2)]

    assert answers == ["cancelled", "cancelled"]
    assert reader.wait().all[-1] | {"at": 0} == {
        "type": "cancelled", "taskId": accepted["taskId"], "attempt": 1, "at": 0, "refunded": True,
    }  # fmt: skip
    until(
        lambda: True if stack.llm.state["closedEarly"] > closed_before else None,
        "the provider call to be closed",
    )
    assert someone.balance() == 8 - 1
    assert_at_rest(stack)


def test_a_message_that_only_waited_is_requeued_and_done(stack: Stack, someone: Frontend) -> None:
    """D12: QStash's retries all met a full slot, within its deduplication window; no attempt was used up."""
    with contextlib.closing(stack.open_store()) as store:
        for holder in ("stranger-1", "stranger-2"):
            store.command("ZADD", SLOT_KEY, 10**14, holder)
        accepted = someone.act("upload-resume", {"text": RESUME, "locale": "en"})
        reader = Reader(accepted["streamUrl"])
        until(
            lambda: (
                True if int(store.command("HGET", keys.task(accepted["taskId"]), "requeues")) >= 1 else None
            ),
            "QStash to give up on the message, and the failure callback",
        )
        assert someone.status(accepted)["state"] == "queued"
        store.command("ZREM", SLOT_KEY, "stranger-1", "stranger-2")

    reader.wait()
    assert reader.types[-1] == "done"
    assert "backpressure" in reader.types
    assert [e["attempt"] for e in reader.all if e["type"] == "start"] == [1]
    assert someone.balance() == 7
    assert_at_rest(stack)


def test_qstash_away_refuses_and_charges_nothing(stack: Stack, someone: Frontend) -> None:
    """D20, D21: 503 with Retry-After, everything given back, and the same key may be used again."""
    stack.qstash.faults.publish_status = 500
    refused = someone.post("/actions/upload-resume", {"text": RESUME}, Idempotency_Key="again")
    assert (refused.status_code, refused.json()["error"]) == (503, "publish_failed")
    assert refused.headers["Retry-After"] == str(refused.json()["retryAfter"])
    assert someone.balance() == 8
    assert_at_rest(stack)

    stack.qstash.faults.clear()
    accepted = someone.post("/actions/upload-resume", {"text": RESUME}, Idempotency_Key="again").json()
    assert accepted["replay"] is False
    assert someone.outcome(accepted)["state"] == "done"


def test_d13_the_provider_away_is_retried_and_then_ends_refunded(stack: Stack, someone: Frontend) -> None:
    """D13, D14, D18: readers see `retrying`, the last attempt ends the task, nothing is charged."""
    stack.llm.fail("status", status=500, model="deepseek-chat", times=None)
    accepted = someone.act("upload-resume", {"text": RESUME, "locale": "en"})
    reader = Reader(accepted["streamUrl"]).wait()

    assert [e["attempt"] for e in reader.all if e["type"] == "start"] == [1, 2, 3, 4]
    assert reader.types.count("retrying") == 3
    assert (reader.all[-1]["type"], reader.all[-1]["code"]) == ("error", "provider_error")
    assert reader.all[-1]["refunded"] is True
    assert someone.balance() == 8
    assert_at_rest(stack)


def test_redis_away_refuses_and_loses_nothing(stack: Stack, someone: Frontend) -> None:
    """D9: no limit is kept from memory: 503 with Retry-After, and all goes on when Redis is back.

    A script that Redis took before it fell silent is carried out when it wakes: the caller was told 503, and
    the same key leads to the one task that was admitted then.
    """
    accepted = someone.act("upload-resume", {"text": RESUME, "locale": "en"})
    stack.valkey.pause()
    try:
        refused = someone.post("/actions/upload-resume", {"text": RESUME}, Idempotency_Key="again")
        assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
        assert refused.headers["Retry-After"] == str(refused.json()["retryAfter"])
    finally:
        stack.valkey.resume()
    again = someone.post("/actions/upload-resume", {"text": RESUME}, Idempotency_Key="again")
    assert again.status_code == 202
    assert someone.outcome(accepted)["state"] == "done"
    assert someone.outcome(again.json())["state"] == "done"
    assert someone.balance() == 8 - 2
    assert_at_rest(stack)


def test_a_lane_that_sleeps_starts_once_with_its_first_calls_and_one_that_was_killed_does_not(
    stack: Stack,
) -> None:
    """What the stack promises to the tests above: who is called is there, and who was killed is not."""
    lane = f"{stack.url('free_batch')}/free/batch/resume_summary"
    assert stack.pid("free_batch") is None
    homes = set(stack._home.glob("free_batch-*"))
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: httpx.post(lane, timeout=60), range(4)))
    assert {answer.status_code for answer in answers} == {401}
    assert len(set(stack._home.glob("free_batch-*")) - homes) == 1
    for name in ("free_batch", "free_stream"):
        stack.kill(name)
        with pytest.raises(httpx.TransportError):
            httpx.post(stack.url(name))
        assert stack.pid(name) is None
