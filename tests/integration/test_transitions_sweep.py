"""The sweep: whatever has no message any more is ended, or published, by the next touch."""

from __future__ import annotations

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, Lane
from shared.state import keys
from shared.state.store import Store
from tests.integration.transitions_kit import Bench

ONE_SLOT = {"DEEPSEEK_MAX_WORKERS": "1"}


def test_only_overdue_tasks_are_listed_oldest_first(store: Store) -> None:
    bench = Bench(store)
    fresh, late, later = (bench.admit() for _ in range(3))
    store.command("ZADD", keys.OPEN_TASKS, 5, late.ref.task_id, 9, later.ref.task_id)
    assert bench.tasks.overdue() == [late.ref.task_id, later.ref.task_id]
    assert bench.tasks.overdue(1) == [late.ref.task_id]
    assert bench.sweep(fresh) == "not_due"


@pytest.mark.parametrize("stage", ["admitted", "published", "running", "retrying"])
def test_a_task_that_is_not_overdue_is_left_alone(store: Store, stage: str) -> None:
    bench = Bench(store)
    job = bench.admit()
    if stage != "admitted":
        bench.publish(job)
    if stage in {"running", "retrying"}:
        attempt = bench.run(job)
        _ = bench.release(attempt) if stage == "retrying" else None
    before = bench.dump()
    assert bench.sweep(job) == "not_due"
    assert bench.dump() == before
    assert (bench.tasks.read(job.ref.task_id) or {})["overdue"] is False


def test_a_task_whose_producer_was_killed_before_publishing_is_lost_and_refunded(store: Store) -> None:
    """D20: the coin is not gone."""
    bench = Bench(store)
    job = bench.admit()
    bench.make_overdue(job)
    assert (bench.tasks.read(job.ref.task_id) or {})["overdue"] is True
    assert bench.sweep(job) == "lost"
    assert (bench.last(job)["code"], bench.last(job)["refunded"]) == ("lost", True)
    assert (bench.balance(), bench.places(Lane.PAID_STREAM)) == (8, [])


def test_a_task_that_was_lost_before_publishing_frees_its_idempotency_key(store: Store) -> None:
    """D21: the user's retry is not told `replay` of something that never ran."""
    bench = Bench(store)
    job = bench.admit(idempotency_key="k")
    bench.make_overdue(job)
    bench.sweep(job)
    assert bench.ask(idempotency_key="k").status == "accepted"


def test_a_task_that_was_lost_after_publishing_keeps_its_idempotency_key(store: Store) -> None:
    """It was accepted: what the key led to is what became of it."""
    bench = Bench(store)
    job = bench.admit(idempotency_key="k")
    bench.publish(job)
    bench.make_overdue(job)
    assert bench.sweep(job) == "lost"
    assert bench.ask(idempotency_key="k").task_id == job.ref.task_id


def test_a_task_whose_attempt_died_and_whose_message_is_gone_is_lost_and_refunded(store: Store) -> None:
    """D14: a killed worker and a purged dead-letter queue still lead to an end that is seen."""
    bench = Bench(store)
    job = bench.admit()
    bench.lapse(bench.run(job))
    bench.make_overdue(job)
    assert bench.sweep(job) == "lost"
    assert bench.balance() == 8


def test_an_overdue_task_whose_attempt_lives_is_left_running(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    bench.make_overdue(job)
    assert bench.sweep(job) == "alive"
    assert bench.tasks.overdue() == []
    assert bench.finish(attempt) == "done"


def test_a_next_step_that_nobody_published_is_published(store: Store) -> None:
    """D17: a lost callback does not leave a service pending for ever."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.publish(job)
    bench.finish(bench.run(job))
    bench.make_overdue(job)
    assert bench.sweep(job, 1) == "publish"
    assert bench.publish(job, 1) == 1
    assert bench.finish(bench.run(job, 1)) == "done"


def test_a_next_step_that_could_not_be_published_for_its_whole_budget_is_lost(store: Store) -> None:
    """Nothing waits without an end."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    bench.make_overdue(job)
    bench.wait_long(job)
    assert bench.sweep(job, 1) == "lost"
    assert bench.balance() == 8


def test_a_task_that_waited_for_a_full_slot_until_its_deadline_ends_as_wait_timeout(store: Store) -> None:
    bench = Bench(store, ONE_SLOT)
    bench.run(bench.admit())
    job = bench.admit()
    bench.publish(job)
    bench.make_overdue(job)
    assert bench.sweep(job) == "wait_timeout"
    assert bench.last(job)["code"] == "wait_timeout"


def test_a_published_task_whose_message_is_lost_while_slots_are_free_is_lost(store: Store) -> None:
    bench = Bench(store, ONE_SLOT)
    job = bench.admit()
    bench.publish(job)
    bench.make_overdue(job)
    assert bench.sweep(job) == "lost"


@pytest.mark.parametrize("gone", ["ended", "expired"])
def test_what_is_gone_is_taken_out_of_the_index(store: Store, gone: str) -> None:
    bench = Bench(store)
    job = bench.admit()
    if gone == "ended":
        bench.cancel(job)
    else:
        store.command("DEL", keys.task(job.ref.task_id))
    bench.make_overdue(job)
    assert bench.sweep(job) == "gone"
    assert bench.tasks.overdue() == []
    assert store.command("SCARD", keys.active("u1")) == 0


def test_a_task_whose_record_is_gone_can_be_forgotten(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.make_overdue(job)
    bench.tasks.forget(job.ref.task_id)
    assert bench.tasks.overdue() == []
