"""The fence: Redis itself refuses what an attempt writes once it is over (design §6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.state.lifecycle import Attempt
from shared.state.store import CommandRefused, Store
from tests.integration.transitions_kit import TERMINAL, Bench, Job, events_key

Act = Callable[[Bench, Job, Attempt], object]


def _take_over(bench: Bench, job: Job, attempt: Attempt) -> None:
    bench.lapse(attempt)
    bench.run(job)


def _sweep(bench: Bench, job: Job, attempt: Attempt) -> None:
    bench.lapse(attempt)
    bench.make_overdue(job)
    assert bench.sweep(job) == "lost"


ENDS: dict[str, Act] = {
    "cancel": lambda bench, job, attempt: bench.cancel(job),
    "takeover": _take_over,
    "release": lambda bench, job, attempt: bench.release(attempt),
    "finish": lambda bench, job, attempt: bench.finish(attempt),
    "fail": lambda bench, job, attempt: bench.fail(attempt),
    "publish_failed": lambda bench, job, attempt: bench.fail_unpublished(job),
    "sweep": _sweep,
}


def _write(bench: Bench, job: Job, attempt: Attempt, n: int) -> str:
    event = '{"type":"token_batch"}'
    return str(bench.store.command("XADD", events_key(job), f"{attempt.epoch}-{n}", "e", event))


@pytest.mark.parametrize("end", ENDS)
def test_what_an_attempt_writes_after_it_is_over_is_refused(store: Store, end: str) -> None:
    """D5, D13, D16: the text of a worker that wakes up late is never mixed into its successor's, or put after the end."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    _write(bench, job, attempt, 1)
    ENDS[end](bench, job, attempt)
    with pytest.raises(CommandRefused, match="equal or smaller"):
        _write(bench, job, attempt, 2)


def test_a_batch_that_is_sent_twice_is_stored_once(store: Store) -> None:
    """D29: the second is refused, and the stream's last id tells that the first had been stored."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    stored = _write(bench, job, attempt, 1)
    with pytest.raises(CommandRefused):
        _write(bench, job, attempt, 1)
    assert bench.events(job)[-1].id == stored


@pytest.mark.parametrize("end", ENDS)
def test_no_event_follows_a_terminal_one(store: Store, end: str) -> None:
    """D32: the bridge closes after it."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    ENDS[end](bench, job, attempt)
    for late in (bench.release, bench.fail, bench.finish):
        late(attempt)
    bench.cancel(job)
    bench.claim(job)
    bench.requeue(job)
    bench.make_overdue(job)
    bench.sweep(job)
    types = bench.types(job)
    assert [i for i, kind in enumerate(types) if kind in TERMINAL] == [len(types) - 1]


def test_an_epoch_is_above_every_id_though_redis_clock_went_back(store: Store) -> None:
    """A fail-over to a replica whose clock is behind must not let an old attempt write on."""
    bench = Bench(store)
    job = bench.admit()
    future_ms = bench.now_ms() + 60_000
    store.command("XADD", events_key(job), f"{future_ms}-7", "e", '{"type":"backpressure"}')
    assert int(bench.run(job).epoch) == future_ms + 1


def test_attempts_within_one_millisecond_have_different_epochs(store: Store) -> None:
    bench = Bench(store, task_retries=20)
    job = bench.admit()
    epochs = []
    for _ in range(20):
        attempt = bench.run(job)
        epochs.append(int(attempt.epoch))
        bench.release(attempt)
    assert epochs == sorted(set(epochs))
