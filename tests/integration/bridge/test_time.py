"""Heartbeats, rotation, stalled tasks and the end of the process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from devstack.valkey import EmbeddedValkey
from shared.state import keys
from shared.state.store import Store
from shared.stream.events import decode
from tests.integration.bridge.kit import (
    BridgeProcess,
    Browser,
    Work,
    blocked_readers,
    commands_served,
    text_of,
    until,
)


def test_a_quiet_connection_gets_heartbeats_that_cost_redis_nothing(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    make_work()
    client = start_bridge(HEARTBEAT_SECONDS="0.02", LEASE_SECONDS="600")
    with client.read() as reader:
        reader.next()
        until(lambda: blocked_readers(store) > 0)
        store.command("CONFIG", "RESETSTAT")
        lines = reader._lines
        beats = [line for line in (next(lines) for _ in range(40)) if line == ": hb"]
        assert len(beats) >= 19
        assert set(commands_served(store)) <= {"config|resetstat", "info", "xread"}


def test_before_the_platform_would_the_bridge_ends_a_connection_and_the_reader_resumes(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    """D32: every connection ends; what was not sent is sent to the next."""
    work = make_work()
    attempt = work.claim()
    client = start_bridge(MAX_CONNECTION_SECONDS="0.3")
    with client.read() as reader:
        frames = reader.rest()
    assert len(reader.retry_ms) == 1
    work.say(attempt, "late")
    work.finish(attempt, "late")
    with client.read(last_event_id=frames[-1].id) as reader:
        frames += reader.rest()
    assert text_of(frames) == "late"
    assert reader.retry_ms == []


def test_a_bridge_that_is_told_to_end_sends_its_readers_away_to_resume(
    valkey: EmbeddedValkey, work: Work
) -> None:
    with BridgeProcess(valkey.url) as process:
        client = Browser(process.url)
        with client.read() as reader:
            reader.next()
            process.process.send_signal(signal.SIGTERM)
            assert reader.rest() == []
            assert len(reader.retry_ms) == 1
        client.http.close()
        assert "Traceback" not in process.end()
        assert process.process.returncode == 0


def test_a_task_whose_worker_died_is_said_to_be_stalled_once_and_goes_on_when_taken_over(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    """D32: a dead producer is told, never an open socket and silence."""
    work = make_work(lease_seconds=0.2)
    client = start_bridge(LEASE_SECONDS="0.2")
    with client.read() as reader:
        reader.next()
        work.claim()
        assert reader.next().event == "start"
        stalled = reader.next()
        assert (stalled.event, stalled.id, stalled.data["attempt"]) == ("stalled", None, 1)
        decode(json.dumps(stalled.data))
        with client.read() as newcomer:
            assert [frame.event for frame in newcomer.take(3)] == ["queued", "start", "stalled"]
        attempt = work.claim()
        work.finish(attempt, "ok")
        assert [frame.event for frame in reader.rest()] == ["start", "done"]


def test_a_silent_task_whose_lease_is_renewed_is_not_stalled(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    work = make_work(lease_seconds=30)
    client = start_bridge(LEASE_SECONDS="0.05")
    attempt = work.claim()
    store.command("CONFIG", "RESETSTAT")
    with client.read() as reader:
        until(lambda: commands_served(store).get("time", 0) >= 3)
        work.finish(attempt, "ok")
        assert [frame.event for frame in reader.rest()] == ["queued", "start", "done"]


def test_a_queued_task_past_its_deadline_is_stalled(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store
) -> None:
    make_work()
    store.command("ZADD", keys.OPEN_TASKS, 12345, "t1")
    client = start_bridge(LEASE_SECONDS="0.05")
    with client.read() as reader:
        queued, stalled = reader.take(2)
        assert (queued.event, stalled.event, stalled.data["since"]) == ("queued", "stalled", 12345)


@pytest.mark.parametrize("what", ["expired", "gone"])
def test_a_stream_that_vanishes_under_its_readers_ends_their_connections(
    start_bridge: Callable[..., Browser], make_work: Callable[..., Work], store: Store, what: str
) -> None:
    """D32: with the outcome when the record still tells it, else sent away to a 404."""
    work = make_work()
    client = start_bridge(LEASE_SECONDS="0.05")
    with client.read() as reader:
        reader.next()
        store.command("ZREM", keys.OPEN_TASKS, "t1")  # as whatever ends or removes a task does
        if what == "expired":
            store.command("HSET", keys.task("t1"), "state", "cancelled", "finishedAt", 1_700_000_000_000)
        else:
            store.command("DEL", keys.task("t1"), work.key)
        frames = reader.rest()
    assert [frame.event for frame in frames] == (["cancelled"] if what == "expired" else [])
    if what == "gone":
        assert client.get().status_code == 404
