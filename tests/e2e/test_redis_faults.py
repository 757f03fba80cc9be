"""Redis failing under the real processes: every task still ends once, its text whole, its price paid once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.frontend import JOB, RESUME, Frontend, Reader, assert_at_rest, until
from devstack.proxy import RedisProxy
from devstack.stack import Stack

LOST_FOR_GOOD = 2
"""How often a connection must break until the store says so."""


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    overrides = {
        "LEASE_SECONDS": "1",
        "WORKER_TIMEOUT_SECONDS": "20",
        "MAX_WAIT_SECONDS_STREAM": "40",
        "MAX_WAIT_SECONDS_BATCH": "40",
        "INITIAL_QUOTA": "8",
    }
    with Stack(
        proxied=True,
        persistent=True,
        overrides=overrides,
        build_folder=build_folder,
        first_token_ms=100,
        tokens_per_second=300,
        qstash_time_scale=0.1,
    ) as running:
        yield running


@pytest.fixture
def proxy(stack: Stack) -> RedisProxy:
    assert stack.proxy is not None
    return stack.proxy


@pytest.fixture
def someone(stack: Stack, proxy: RedisProxy, user: str) -> Iterator[Frontend]:
    """A user whose résumé is summarised: 7 coins are left."""
    yield Frontend(stack, user).with_resume()
    proxy.heal()
    stack.llm.heal()


def start(someone: Frontend) -> tuple[dict[str, Any], Reader]:
    """Start a match and read it up to its first words."""
    accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    reader = Reader(accepted["streamUrl"])
    reader.wait_for("token_batch")
    return accepted, reader


def assert_done_once(someone: Frontend, accepted: dict[str, Any], reader: Reader) -> None:
    assert reader.wait().types[-1] == "done"
    assert reader.types.count("done") == 1
    status = someone.status(accepted)
    assert (status["state"], status["refunded"]) == ("done", False)
    assert reader.text == status["result"]["text"]
    assert someone.balance() == 8 - 1 - 2
    assert_at_rest(someone.stack)


def attempts(reader: Reader) -> list[int]:
    return [event["attempt"] for event in reader.all if event["type"] == "start"]


def test_every_connection_cut_again_and_again_in_mid_stream_is_not_noticed(
    proxy: RedisProxy, someone: Frontend
) -> None:
    """D29, D32."""
    accepted, reader = start(someone)
    while reader.types[-1] != "done":
        seen = len(reader.events)
        proxy.cut_all()
        until(lambda: True if len(reader.events) > seen else None, "the next event")  # noqa: B023
    assert_done_once(someone, accepted, reader)
    assert attempts(reader) == [1]


def test_a_durable_redis_killed_in_mid_stream_and_started_again_is_not_noticed(
    stack: Stack, someone: Frontend
) -> None:
    """D9, D29: the scripts are gone, the data are not."""
    accepted, reader = start(someone)
    stack.valkey.restart()
    assert_done_once(someone, accepted, reader)
    assert attempts(reader) == [1]


def test_scripts_flushed_in_mid_stream_are_not_missed(stack: Stack, someone: Frontend) -> None:
    accepted, reader = start(someone)
    with contextlib.closing(stack.open_store()) as store:
        while reader.types[-1] != "done":
            seen = len(reader.events)
            store.command("SCRIPT", "FLUSH")
            until(lambda: True if len(reader.events) > seen else None, "the next event")  # noqa: B023
    assert_done_once(someone, accepted, reader)


def test_redis_gone_for_longer_than_the_lease_ends_the_attempt_and_another_completes_the_task(
    stack: Stack, proxy: RedisProxy, someone: Frontend
) -> None:
    """D9, D16, D18: its provider call is closed, the reader gets the new attempt from its start."""
    stack.llm.fail("silence", model="deepseek-reasoner", after_pieces=5)
    accepted, reader = start(someone)
    closed_before = stack.llm.state["closedEarly"]
    proxy.refuse()
    refused = someone.post("/actions/upload-resume", {"text": RESUME})
    assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
    assert refused.headers["Retry-After"] == str(refused.json()["retryAfter"])
    until(lambda: True if stack.llm.state["closedEarly"] > closed_before else None, "the call to be closed")
    proxy.resume()
    assert_done_once(someone, accepted, reader)
    assert attempts(reader) == [1, 2]


@pytest.mark.parametrize("script", ["claim_task", "finish_task", "XADD", "renew_lease", "confirm_publish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_transition_lost_for_good_changes_no_outcome(
    script: str, when: Any, proxy: RedisProxy, someone: Frontend
) -> None:
    """D6, D15, D16, D20."""
    lost = proxy.cut(script, when=when, times=LOST_FOR_GOOD)
    accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    assert_done_once(someone, accepted, Reader(accepted["streamUrl"]))
    assert lost.hits == LOST_FOR_GOOD


def test_a_read_only_redis_refuses_all_and_all_goes_on_when_it_is_primary_again(
    proxy: RedisProxy, someone: Frontend
) -> None:
    """D9: running tasks wait for it, new ones are told when to come back."""
    accepted, reader = start(someone)
    for name in ("EVALSHA", "EVAL", "XADD"):
        proxy.answer(name, "READONLY You can't write against a read only replica.", times=None)
    refused = someone.post("/actions/upload-resume", {"text": RESUME}, Idempotency_Key="k")
    assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
    proxy.heal()
    assert_done_once(someone, accepted, reader)


def test_a_redis_without_memory_takes_nothing_and_goes_on_when_it_has_some(
    stack: Stack, someone: Frontend
) -> None:
    """D9, D19, D20."""
    accepted, reader = start(someone)
    with contextlib.closing(stack.open_store()) as store:
        store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.command("CONFIG", "SET", "maxmemory", 1)
        refused = someone.post("/actions/upload-resume", {"text": RESUME})
        assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
        store.command("CONFIG", "SET", "maxmemory", 0)
    assert_done_once(someone, accepted, reader)


def test_an_emptied_redis_ends_its_readers_and_serves_whoever_comes_next(
    stack: Stack, proxy: RedisProxy, someone: Frontend
) -> None:
    """D32: what is gone is not found, nobody waits for it, and nothing of it comes back."""
    accepted, reader = start(someone)
    with contextlib.closing(stack.open_store()) as store:
        store.pipeline([["FLUSHALL"], ["SCRIPT", "FLUSH"]])
        proxy.cut_all()
        reader.wait()
        assert "done" not in reader.types
        assert someone.get(f"/tasks/{accepted['taskId']}").status_code == 404
        until(
            lambda: None if store.command("EXISTS", f"task:{accepted['taskId']}") else True,
            "the old attempt to leave nothing",
        )
    newcomer = Frontend(stack, f"{someone.user}-2").with_resume()
    assert newcomer.balance() == 8 - 1
    assert_at_rest(stack)
