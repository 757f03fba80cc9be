"""The events plane on a second Valkey: no key changes and no redesign, whichever of the two ways is taken.

Replica: bridges read a copy of the whole database; all writes stay where they are.
Shard: a task's stream lives on another database; what the transitions say is carried there under its own id.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from devstack.valkey import EmbeddedValkey
from shared.errors import AttemptLost
from shared.state.lifecycle import Attempt
from shared.state.store import CommandRefused, Store, TcpStore
from shared.stream.publisher import AttemptWriter
from tests.integration.bridge.kit import KEY, REF, BridgeProcess, Browser, Work, text_of, until


@pytest.fixture
def second(own_valkey: EmbeddedValkey) -> Iterator[Store]:
    """A second database, empty."""
    store = TcpStore(own_valkey.url)
    yield store
    store.close()


@pytest.fixture
def second_browser(own_valkey: EmbeddedValkey) -> Iterator[Browser]:
    """A client of a bridge that knows the second database alone."""
    with BridgeProcess(own_valkey.url) as process, Browser(process.url) as client:
        yield client


def carry(task_plane: Store, events_plane: Store) -> None:
    """Bring what the transitions have said to the task's stream elsewhere, ids and all; twice is once."""
    for id_, fields in task_plane.command("XRANGE", KEY, "-", "+"):
        with suppress(CommandRefused):  # it is there already, or what is there is newer
            events_plane.command("XADD", KEY, id_, *fields)


def writer_on(store: Store, work: Work, attempt: Attempt) -> AttemptWriter:
    return AttemptWriter(
        store,
        KEY,
        task_id=REF.task_id,
        step=0,
        attempt=attempt.number,
        epoch_ms=int(attempt.epoch),
        settings=work.stream,
    )


def follow(replica: Store, port: int) -> None:
    replica.command("REPLICAOF", "127.0.0.1", port)
    until(lambda: "master_link_status:up" in replica.command("INFO", "replication"))


def test_a_bridge_on_a_replica_tells_what_the_tasks_database_was_told(
    valkey: EmbeddedValkey, second: Store, second_browser: Browser, work: Work
) -> None:
    """Blocked reads wake, the record tells the end of a stream that is gone, and the fence stays where it is."""
    follow(second, valkey.port)
    until(lambda: second.command("EXISTS", KEY))
    with second_browser.read() as reader:
        assert reader.next().event == "queued"
        attempt = work.claim()
        work.say(attempt, "one ", "two")
        work.finish(attempt, "one two")
        frames = reader.rest()
    assert text_of(frames) == "one two"
    assert frames[-1].event == "done"
    work.expire_stream()
    until(lambda: not second.command("EXISTS", KEY))
    with second_browser.read() as reader:
        assert [frame.event for frame in reader.rest()] == ["done"]


def test_a_task_whose_stream_lives_on_another_database_is_told_whole(
    second: Store, second_browser: Browser, work: Work
) -> None:
    carry(work.store, second)
    with second_browser.read() as reader:
        assert reader.next().event == "queued"
        attempt = work.claim()
        carry(work.store, second)
        with writer_on(second, work, attempt) as writer:
            writer.token("one ")
            writer.drain()
            carry(work.store, second)  # a carrier that is restarted begins anew
            writer.token("two")
        work.finish(attempt, "one two")
        carry(work.store, second)
        frames = reader.rest()
    assert [frame.event for frame in frames] == ["start", "token_batch", "token_batch", "done"]
    assert text_of(frames) == "one two"


def write_past_a_cancel(second: Store, work: Work, attempt: Attempt) -> None:
    with writer_on(second, work, attempt) as writer:
        writer.token("one ")
        writer.drain()
        work.tasks.cancel(REF)
        carry(work.store, second)
        writer.token("two")
        writer.drain()


def test_a_cancel_that_is_carried_over_stops_the_attempt_at_its_next_write(second: Store, work: Work) -> None:
    """The ids are the fence, wherever the stream lives: a later one refuses whoever wrote before."""
    attempt = work.claim()
    carry(work.store, second)
    with pytest.raises(AttemptLost):
        write_past_a_cancel(second, work, attempt)
    told = [fields[1] for _, fields in second.command("XRANGE", KEY, "-", "+")]
    assert "one " in told[-2]
    assert "cancelled" in told[-1]
    assert not any("two" in event for event in told)


def test_an_attempt_that_was_taken_over_writes_nothing_behind_its_successor(
    second: Store, work: Work
) -> None:
    first = work.claim()
    carry(work.store, second)
    work.tasks.release(first, code="provider_error", message="x", retry_after_seconds=1)
    successor = work.claim()
    carry(work.store, second)
    with writer_on(second, work, successor) as writer:
        writer.token("right")
    with pytest.raises(AttemptLost), writer_on(second, work, first) as late:
        late.token("wrong")
    told = [fields[1] for _, fields in second.command("XRANGE", KEY, "-", "+")]
    assert not any("wrong" in event for event in told)
