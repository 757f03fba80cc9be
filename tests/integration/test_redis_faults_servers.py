"""Redis itself restarted, emptied, failed over or full: what was stored holds, what was not is never claimed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from devstack.proxy import RedisProxy
from devstack.valkey import EmbeddedValkey
from shared.errors import AttemptLost, StoreUnavailable
from shared.state import keys
from shared.state.lifecycle import Attempt
from shared.state.store import Store, TcpStore
from shared.stream.publisher import AttemptWriter, publish_event
from tests.integration.redis_faults_kit import CASES, each_case, name_of, shape, status_of
from tests.integration.test_transitions_twice import Twice
from tests.integration.transitions_kit import Bench, Job, events_key, poll

Open = Callable[[str], Store]
READ_ONLY = {("begin_publish", "1"), ("requeue_task", "published")}
"""Cases that change nothing, and so are answered by a replica too."""


@pytest.fixture
def open_at() -> Iterator[Open]:
    with ExitStack() as opened:

        def open_store(url: str) -> Store:
            store = TcpStore(url)
            opened.callback(store.close)
            return store

        yield open_store


@pytest.fixture(scope="module")
def replica() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


def catch_up(replica: Store, primary: Store, primary_port: int) -> None:
    """Make one server the other's replica, if it is none, and wait until it has all that its primary has."""
    primary.command("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    if "role:master" in replica.command("INFO", "replication"):
        replica.command("REPLICAOF", "127.0.0.1", primary_port)
    poll(lambda: "master_link_status:up" in replica.command("INFO", "replication"))
    assert primary.command("WAIT", 1, 10_000) == 1


# -- restarts ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def durable() -> Iterator[EmbeddedValkey]:
    """A server whose data outlive it."""
    with EmbeddedValkey(persistent=True) as server:
        yield server


@each_case
def test_after_a_restart_with_its_data_everything_goes_on_where_it_was(
    case: Twice, durable: EmbeddedValkey, open_at: Open
) -> None:
    """A killed server forgets all scripts and no data: what was done stays done, and is not done again."""
    bench = Bench(open_at(durable.url))
    bench.store.command("FLUSHALL")
    send = case.prepare(bench)
    before = bench.dump()
    durable.restart()
    assert bench.dump() == before
    assert status_of(send()) == case.first
    after = bench.dump()
    durable.restart()
    assert bench.dump() == after
    assert status_of(send()) == case.second
    assert bench.dump() == after


def test_an_attempt_writes_on_across_a_restart_and_every_text_is_stored_once(
    durable: EmbeddedValkey, open_at: Open
) -> None:
    """D29: what was taken while Redis was away is stored when it is back, in order."""
    bench = Bench(open_at(durable.url))
    bench.store.command("FLUSHALL")
    job = bench.admit()
    attempt = bench.run(job)
    with writer_of(bench, job, attempt) as writer:
        writer.token("before ")
        writer.drain()
        durable.kill()
        writer.token("meanwhile ")
        durable.restart()
        writer.token("after")
        writer.drain()
    texts = [event.data for event in bench.events(job) if event.type == "token_batch"]
    assert "".join(event["text"] for event in texts) == "before meanwhile after"
    assert [event["offset"] for event in texts][:2] == [0, 7]
    assert bench.finish(attempt) == "done"


@pytest.mark.parametrize("ending", ["finish", "release", "fail"])
def test_after_a_restart_without_its_data_an_old_attempt_ends_and_writes_nothing(
    ending: str, own_valkey: EmbeddedValkey, open_at: Open
) -> None:
    bench = Bench(open_at(own_valkey.url))
    job = bench.admit()
    attempt = bench.run(job)
    own_valkey.restart()

    assert bench.tasks.renew(attempt) is False
    with pytest.raises(AttemptLost):
        publish_event(bench.store, events_key(job), "{}", f"{attempt.epoch}-1", 100)
    with pytest.raises(AttemptLost), writer_of(bench, job, attempt) as writer:
        writer.token("lost")
    assert getattr(bench, ending)(attempt) in {"superseded", "unknown"}
    assert bench.dump() == {}


def test_after_a_restart_without_its_data_nobody_brings_back_a_task(
    own_valkey: EmbeddedValkey, open_at: Open
) -> None:
    bench = Bench(open_at(own_valkey.url))
    job = bench.admit(idempotency_key="k")
    own_valkey.restart()

    assert bench.tasks.begin_publish(job.ref, 0) == 0
    bench.tasks.confirm_publish(job.ref, 0, 1)
    assert bench.claim(job).status == "unknown"
    assert bench.cancel(job) is None
    assert bench.requeue(job).status == "ended"
    assert bench.sweep(job) == "gone"
    assert bench.fail_unpublished(job, "k") == "unknown"
    assert bench.dump() == {}


# -- failovers -----------------------------------------------------------------------------------------------


def test_a_replica_that_was_never_told_a_script_takes_over_in_mid_task(
    valkey: EmbeddedValkey, replica: EmbeddedValkey, store: Store, open_at: Open
) -> None:
    with RedisProxy(valkey.port) as proxy:
        bench, successor = Bench(open_at(proxy.url)), Bench(open_at(replica.url))
        job = bench.admit()
        attempt = bench.run(job)
        with writer_of(bench, job, attempt) as writer:
            writer.token("before ")
            writer.drain()
            catch_up(successor.store, store, valkey.port)
            before = successor.dump()
            successor.store.command("REPLICAOF", "NO", "ONE")
            proxy.lead_to(replica.port)
            writer.token("after")
            writer.drain()
        assert before == Bench(store).dump()
        assert bench.finish(attempt) == "done"
        assert successor.types(job) == ["queued", "start", "token_batch", "token_batch", "done"]
        assert successor.ledger() == [("grant", 8), ("debit", -2)]


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case.script, case.first) not in READ_ONLY], ids=name_of
)
def test_a_replica_takes_no_transition(
    case: Twice, valkey: EmbeddedValkey, replica: EmbeddedValkey, store: Store, open_at: Open
) -> None:
    """D9: a server that was demoted under us is no store; back at the primary, all goes on."""
    with RedisProxy(valkey.port) as proxy:
        bench, replicas = Bench(open_at(proxy.url)), Bench(open_at(replica.url))
        send = case.prepare(bench)
        catch_up(replicas.store, store, valkey.port)
        before = bench.dump()
        proxy.lead_to(replica.port)
        with pytest.raises(StoreUnavailable, match="READONLY"):
            send()
        assert replicas.dump() == before
        proxy.lead_to(valkey.port)
        assert status_of(send()) == case.first


def test_scripts_flushed_under_running_tasks_lose_and_double_nothing(
    store: Store, open_at: Open, valkey: EmbeddedValkey
) -> None:
    bench, flushing = Bench(store, initial_quota=60), open_at(valkey.url)
    over = threading.Event()

    def flush() -> None:
        while not over.is_set():
            flushing.command("SCRIPT", "FLUSH")

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        for _ in range(20):
            job = bench.admit()
            bench.publish(job)
            first = bench.run(job)
            assert bench.release(first) == "released"
            attempt = bench.run(job)
            assert bench.tasks.renew(attempt)
            assert bench.finish(attempt) == "done"
            assert bench.types(job) == ["queued", "start", "retrying", "start", "done"]
    finally:
        over.set()
        thread.join()
    assert bench.ledger() == [("grant", 60)] + [("debit", -2)] * 20
    assert bench.balance() == 20


# -- memory full ---------------------------------------------------------------------------------------------


@each_case
def test_with_memory_full_a_transition_happens_whole_or_not_at_all(
    case: Twice, own_valkey: EmbeddedValkey, open_at: Open
) -> None:
    bench = Bench(open_at(own_valkey.url))
    case.prepare(bench)()
    expected = shape(bench)
    bench.store.command("FLUSHALL")
    send = case.prepare(bench)
    before = bench.dump()
    fill_memory(bench.store)
    try:
        status = status_of(send())
    except StoreUnavailable:
        assert bench.dump() == before
        free_memory(bench.store)
        status = status_of(send())
    assert status == case.first
    assert shape(bench) == expected


def test_with_memory_full_nothing_is_begun_that_could_not_be_stored(
    own_valkey: EmbeddedValkey, open_at: Open
) -> None:
    """No slot, no attempt and no coin goes for what Redis has no room for."""
    bench = Bench(open_at(own_valkey.url))
    job, running, lapsed = bench.admit(), bench.run(bench.admit()), bench.run(bench.admit())
    bench.lapse(lapsed)
    bench.store.command("ZADD", keys.slots(running.model, running.tier), 1, "lapsed long ago")
    before = bench.dump()
    fill_memory(bench.store)
    for begin in (
        bench.ask,
        lambda: bench.claim(job),
        lambda: bench.tasks.renew(running),
        lambda: bench.tasks.renew(lapsed),
    ):
        with pytest.raises(StoreUnavailable, match="OOM"):
            begin()
    assert bench.dump() == before


@pytest.mark.parametrize(("ending", "state"), [("finish", "done"), ("release", "queued"), ("fail", "failed")])
def test_with_memory_full_an_attempt_can_still_end(
    ending: str, state: str, own_valkey: EmbeddedValkey, open_at: Open
) -> None:
    """D6: what an end gives back is not kept for want of the memory that its record takes."""
    bench = Bench(open_at(own_valkey.url))
    job = bench.admit()
    attempt = bench.run(job)
    fill_memory(bench.store)
    getattr(bench, ending)(attempt)
    assert bench.record(job)["state"] == state
    assert bench.holders(attempt.model) == []


def test_with_memory_full_a_refusal_is_answered_though_it_cannot_be_counted(
    own_valkey: EmbeddedValkey, open_at: Open
) -> None:
    """A tally stands in nothing's way."""
    bench = Bench(open_at(own_valkey.url), {"USER_MAX_ACTIVE": "2"})
    job, ended = bench.admit(idempotency_key="k"), bench.admit()
    bench.run(job)
    bench.cancel(ended)
    bench.admit()
    before = bench.dump()
    fill_memory(bench.store)
    assert bench.claim(job).status == "busy"
    assert bench.claim(ended).status == "duplicate"
    assert bench.ask().status == "user_busy"
    assert bench.ask(idempotency_key="k").status == "replay"
    assert bench.dump() == before
    assert bench.store.command("EXISTS", keys.TALLIES) == 0
    free_memory(bench.store)
    assert bench.claim(job).status == "busy"
    assert bench.store.command("HLEN", keys.TALLIES) == 1


def fill_memory(store: Store) -> None:
    """Leave Redis no memory, nor anything that it might evict."""
    store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    store.command("CONFIG", "SET", "maxmemory", 1)


def free_memory(store: Store) -> None:
    store.command("CONFIG", "SET", "maxmemory", 0)


def writer_of(bench: Bench, job: Job, attempt: Attempt) -> AttemptWriter:
    return AttemptWriter(
        bench.store,
        events_key(job),
        task_id=job.ref.task_id,
        step=0,
        attempt=attempt.number,
        epoch_ms=int(attempt.epoch),
        settings=bench.stream,
    )
