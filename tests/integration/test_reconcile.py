"""Whatever differs from the task records is found, named and, where nothing has to be invented, repaired: once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, Lane, Model, Tier
from shared.state import keys
from shared.state.erasure import erase_user
from shared.state.quota import grant
from shared.state.reconciliation import PAGE, Report, reconcile
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, Job, events_key

SLOTS = keys.slots(Model.DEEPSEEK_REASONER, Tier.PAID)
QUEUE = keys.queue(Lane.PAID_STREAM)


def check(bench: Bench, *, repair: bool = False, store: Store | None = None) -> Report:
    return reconcile(
        store or bench.store, concurrency=bench.limits, time=bench.time, stream=bench.stream, repair=repair
    )


def kinds(report: Report) -> list[str]:
    return sorted(difference.kind for difference in report.differences)


# -- tasks in every state there is -----------------------------------------------------------------------------------


def queued(bench: Bench, user: str = "u1") -> Job:
    job = bench.admit(user)
    bench.publish(job)
    return job


def running(bench: Bench, user: str = "u1") -> Job:
    job = queued(bench, user)
    bench.run(job)
    return job


def done(bench: Bench, user: str = "u1") -> Job:
    job = queued(bench, user)
    assert bench.finish(bench.run(job)) == "done"
    return job


def cancelled(bench: Bench, user: str = "u1") -> Job:
    job = queued(bench, user)
    bench.cancel(job)
    return job


def at_second_step(bench: Bench, user: str = "u1") -> Job:
    job = bench.admit(user, CREATE_SERVICE_IMAGE)
    bench.publish(job)
    assert bench.finish(bench.run(job)) == "step_done"
    bench.publish(job, 1)
    return job


def failed(bench: Bench, user: str = "u1") -> Job:
    job = queued(bench, user)
    bench.fail(bench.run(job))
    return job


def free(bench: Bench, user: str = "poor") -> Job:
    for _ in range(4):
        done(bench, user)
    job = bench.admit(user)
    assert job.tier is Tier.FREE
    return job


STATES = [queued, running, done, cancelled, at_second_step, failed, free]


@pytest.mark.parametrize("make", STATES)
def test_what_the_transitions_leave_does_not_differ(each_store: Store, make: Callable[[Bench], Job]) -> None:
    bench = Bench(each_store)
    make(bench)
    before = bench.dump()
    report = check(bench)
    assert report.is_clean
    assert report.checked["task"] > 0
    assert report.checked["account"] == 1
    assert bench.dump() == before
    assert check(bench, repair=True).is_clean
    assert bench.dump() == before


# -- what differs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """How something comes to differ, what is said of it, and whether it can be repaired."""

    harm: Callable[[Bench], Job]
    kind: str
    says: str
    repairable: bool = True


def _place_of_ended(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("ZADD", QUEUE, bench.now_ms(), f"{job.ref.task_id}:0")
    return job


def _place_of_nobody(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZADD", QUEUE, bench.now_ms(), "nobody:0")
    return job


def _place_of_step_over(bench: Bench) -> Job:
    job = at_second_step(bench)
    bench.store.command("ZADD", keys.queue(Lane.PAID_VISION), bench.now_ms(), f"{job.ref.task_id}:0")
    return job


def _place_in_other_queue(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZADD", keys.queue(Lane.FREE_BATCH), bench.now_ms(), f"{job.ref.task_id}:0")
    return job


def _no_place(bench: Bench) -> Job:
    job = running(bench)
    bench.store.command("ZREM", QUEUE, f"{job.ref.task_id}:0")
    return job


def _no_place_for_later_step(bench: Bench) -> Job:
    job = bench.admit("u1", CREATE_SERVICE_IMAGE)
    bench.store.command("ZREM", QUEUE, f"{job.ref.task_id}:1")
    return job


def _not_listed_as_open(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZREM", keys.OPEN_TASKS, job.ref.task_id)
    return job


def _listed_as_open_though_ended(bench: Bench) -> Job:
    job = cancelled(bench)
    bench.store.command("ZADD", keys.OPEN_TASKS, bench.now_ms() + 60_000, job.ref.task_id)
    return job


def _listed_as_open_without_record(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZADD", keys.OPEN_TASKS, bench.now_ms() + 60_000, "nobody")
    return job


def _not_its_users(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("SREM", keys.active("u1"), job.ref.task_id)
    return job


def _its_users_though_ended(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("SADD", keys.active("u1"), job.ref.task_id)
    return job


def _another_users(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("SADD", keys.active("u1:active"), job.ref.task_id)
    return job


def _slot_for_ever(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("ZADD", SLOTS, bench.now_ms() + 3_600_000, f"{job.ref.task_id}:0:1")
    return job


def _own_slot_for_ever(bench: Bench) -> Job:
    job = running(bench)
    bench.store.command("ZADD", SLOTS, bench.now_ms() + 3_600_000, bench.record(job)["holder"])
    return job


def _too_many_slots(bench: Bench) -> Job:
    job = running(bench)
    for number in range(bench.limits.slots(Model.DEEPSEEK_REASONER, Tier.PAID)):
        bench.store.command("ZADD", SLOTS, bench.now_ms() + 20_000, f"{job.ref.task_id}:0:{number}")
    return job


def _pay(bench: Bench, job: Job, kind: str, coins: int, user: str = "u1") -> None:
    """Pay coins as a script would that does it once too often."""
    balance = bench.store.command("HINCRBY", keys.quota(user), "balance", coins)
    line = {"at": bench.now_ms(), "kind": kind, "delta": coins, "balance": balance, "taskId": job.ref.task_id}
    bench.store.command("RPUSH", keys.ledger(user), json.dumps(line))


def _refunded_twice(bench: Bench) -> Job:
    job = cancelled(bench)
    _pay(bench, job, "refund", 2)
    return job


def _refunded_though_done(bench: Bench) -> Job:
    job = done(bench)
    _pay(bench, job, "refund", 2)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "1")
    return job


def _refunded_though_open(bench: Bench) -> Job:
    job = queued(bench)
    _pay(bench, job, "refund", 2)
    return job


def _refunded_twice_and_spent(bench: Bench) -> Job:
    job = _refunded_twice(bench)
    for _ in range(5):
        done(bench)
    return job


def _refunded_twice_long_ago(bench: Bench) -> Job:
    job = _refunded_twice(bench)
    bench.store.command("DEL", keys.task(job.ref.task_id))
    return job


def _refunded_what_free_was(bench: Bench) -> Job:
    job = free(bench)
    bench.cancel(job)
    _pay(bench, job, "refund", 2, "poor")
    return job


def _not_refunded(bench: Bench) -> Job:
    job = failed(bench)
    bench.store.command("HINCRBY", keys.quota("u1"), "balance", -2)
    bench.store.command("RPOP", keys.ledger("u1"))
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "0")
    return job


def _not_refunded_though_it_says_so(bench: Bench) -> Job:
    job = _not_refunded(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "1")
    return job


def _refunded_and_does_not_say_so(bench: Bench) -> Job:
    job = cancelled(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "0")
    return job


def _refund_of_nothing(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "1")
    return job


def _not_debited(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("HINCRBY", keys.quota("u1"), "balance", 2)
    bench.store.command("RPOP", keys.ledger("u1"))
    return job


def _debited_twice(bench: Bench) -> Job:
    job = done(bench)
    _pay(bench, job, "debit", -2)
    return job


def _debited_too_much(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "cost", "1")
    return job


def _balance_off(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HINCRBY", keys.quota("u1"), "balance", 3)
    return job


def _balance_gone(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HDEL", keys.quota("u1"), "balance")
    return job


def _running_balance_off(bench: Bench) -> Job:
    job = done(bench)
    line = json.loads(bench.store.command("LINDEX", keys.ledger("u1"), 0))
    bench.store.command("LSET", keys.ledger("u1"), 0, json.dumps(line | {"balance": 9}))
    return job


def _no_line(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("RPUSH", keys.ledger("u1"), "not a line")
    return job


def _no_ledger(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("DEL", keys.ledger("u1"), keys.task(job.ref.task_id))
    return job


def _overdue(bench: Bench) -> Job:
    job = queued(bench)
    bench.make_overdue(job)
    return job


def _overdue_second_step(bench: Bench) -> Job:
    job = bench.admit("u1", CREATE_SERVICE_IMAGE)
    bench.publish(job)
    bench.finish(bench.run(job))
    bench.make_overdue(job)
    return job


def _overdue_running(bench: Bench) -> Job:
    job = running(bench)
    bench.make_overdue(job)
    return job


def _no_events(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("DEL", events_key(job))
    return job


def _no_sense(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "state", "asleep")
    return job


def _no_queue(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "steps", '[{"queueId":"gone","maxWaitMs":1}]')
    return job


def _runs_for_nobody(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "state", "running")
    return job


CASES = [
    Case(_place_of_ended, "place", "has a place, but is done"),
    Case(_place_of_nobody, "place", "has a place, but has no record"),
    Case(_place_of_step_over, "place", "is past that step"),
    Case(_place_in_other_queue, "place", "has no such step in this queue"),
    Case(_no_place, "place", f"has no place in {QUEUE} for its step 0"),
    Case(_no_place_for_later_step, "place", f"has no place in {QUEUE} for its step 1"),
    Case(_not_listed_as_open, "open", "is open, but not in the list"),
    Case(_listed_as_open_though_ended, "open", "is listed as open, but is cancelled"),
    Case(_listed_as_open_without_record, "open", "is listed as open, but has no record"),
    Case(_not_its_users, "active", "not among the open tasks of its user"),
    Case(_its_users_though_ended, "active", "is listed as its user's, but is done"),
    Case(_another_users, "active", "belongs to another user"),
    Case(_slot_for_ever, "slot", "for longer than a lease"),
    Case(_own_slot_for_ever, "slot", "for longer than a lease"),
    Case(_too_many_slots, "slot", "hold a slot, of 5 that there are", repairable=False),
    Case(_refunded_twice, "refund", "is cancelled, and was refunded 4 instead of 2"),
    Case(_refunded_though_done, "refund", "is done, and was refunded 2 instead of 0"),
    Case(_refunded_though_open, "refund", "is queued, and was refunded 2 instead of 0"),
    Case(_refunded_twice_and_spent, "refund", "was refunded 4 instead of 2", repairable=False),
    Case(_refunded_twice_long_ago, "refund", "was refunded 2 more than it was debited"),
    Case(_refunded_what_free_was, "refund", "is cancelled, and was refunded 2 instead of 0"),
    Case(_not_refunded, "refund", "is failed, and was refunded 0 instead of 2"),
    Case(_not_refunded_though_it_says_so, "refund", "is failed, and was refunded 0 instead of 2"),
    Case(_refunded_and_does_not_say_so, "refund", "was refunded 2, which its record does not say"),
    Case(_refund_of_nothing, "refund", "was refunded 0, which its record does not say"),
    Case(_not_debited, "debit", "cost 2, but was debited 0 in 0 lines", repairable=False),
    Case(_debited_twice, "debit", "cost 2, but was debited 4 in 2 lines", repairable=False),
    Case(_debited_too_much, "debit", "cost 1, but was debited 2 in 1 lines", repairable=False),
    Case(_balance_off, "balance", "is 9, and its ledger adds up to 6"),
    Case(_balance_gone, "balance", "is not there, and its ledger adds up to 6"),
    Case(_running_balance_off, "ledger", "1 lines whose balance is not that of the lines up to it"),
    Case(_no_line, "ledger", "holds a line that is none", repairable=False),
    Case(_no_ledger, "balance", "is 6, and its ledger adds up to 0", repairable=False),
    Case(_overdue, "overdue", "has been overdue for more than two sweeps"),
    Case(_overdue_second_step, "overdue", "has been overdue for more than two sweeps"),
    Case(_overdue_running, "overdue", "has been overdue for more than two sweeps"),
    Case(_no_events, "stream", "its events are gone", repairable=False),
    Case(_no_sense, "record", "makes no sense", repairable=False),
    Case(_no_queue, "record", "makes no sense", repairable=False),
    Case(_runs_for_nobody, "record", "makes no sense", repairable=False),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.harm.__name__.strip("_"))


@pytest.fixture
def bench(store: Store) -> Bench:
    """A bench with tasks in every state beside the one that is harmed."""
    bench = Bench(store)
    for number, make in enumerate(STATES):
        make(bench, f"bystander-{number}")
    return bench


@each_case
def test_a_difference_is_found_and_named_and_nothing_is_changed_unasked(bench: Bench, case: Case) -> None:
    case.harm(bench)
    before = bench.dump()
    report = check(bench)
    assert kinds(report) == [case.kind]
    assert case.says in report.differences[0].what
    assert report.unrepaired == report.differences
    assert bench.dump() == before
    assert not any(user in report.differences[0].what for user in ("u1", "poor", "bystander"))


@each_case
def test_a_difference_is_repaired_once_and_then_is_none_or_is_left_as_it_is(bench: Bench, case: Case) -> None:
    """D15: a refund that is missing is paid once, one that was paid twice is taken back once."""
    case.harm(bench)
    harmed = bench.dump()
    report = check(bench, repair=True)
    assert [(d.kind, d.repaired) for d in report.differences] == [(case.kind, case.repairable)]
    left = bench.dump()
    assert case.repairable or left == harmed
    assert check(bench, repair=True).is_clean == case.repairable
    assert bench.dump() == left


# -- what a repair leads to ------------------------------------------------------------------------------------------


def repaired(store: Store, harm: Callable[[Bench], Job]) -> tuple[Bench, Job]:
    bench = Bench(store)
    job = harm(bench)
    assert not check(bench, repair=True).unrepaired
    return bench, job


@pytest.mark.parametrize("harm", [_not_refunded, _not_refunded_though_it_says_so])
def test_a_missing_refund_is_paid_by_the_function_that_refunds(
    store: Store, harm: Callable[[Bench], Job]
) -> None:
    bench, job = repaired(store, harm)
    assert bench.balance() == 8
    assert bench.ledger() == [("grant", 8), ("debit", -2), ("refund", 2)]
    assert bench.record(job)["refunded"] == "1"


def test_a_doubled_refund_is_taken_back_under_a_reference_that_names_its_task(store: Store) -> None:
    bench, job = repaired(store, _refunded_twice)
    assert bench.balance() == 8
    last = json.loads(bench.store.command("LINDEX", keys.ledger("u1"), -1))
    assert (last["kind"], last["delta"], last["balance"]) == ("grant", -2, 8)
    assert last["reference"] == f"reconcile-{job.ref.task_id}"


def test_a_refund_of_a_done_task_is_taken_back_and_its_record_says_so(store: Store) -> None:
    bench, job = repaired(store, _refunded_though_done)
    assert bench.balance() == 6
    assert bench.record(job)["refunded"] == "0"


def test_a_task_whose_early_refund_was_taken_back_is_refunded_when_it_fails(store: Store) -> None:
    bench, job = repaired(store, _refunded_though_open)
    assert bench.balance() == 6
    bench.fail(bench.run(job))
    assert bench.balance() == 8
    assert check(bench).is_clean


def test_coins_that_a_user_has_spent_are_never_taken_back(store: Store) -> None:
    bench = Bench(store)
    _refunded_twice_and_spent(bench)
    assert bench.balance() == 0
    assert len(check(bench, repair=True).unrepaired) == 1
    assert bench.balance() == 0


def test_a_place_comes_back_where_it_was(store: Store) -> None:
    bench = Bench(store)
    jobs = [queued(bench) for _ in range(3)]
    before = bench.store.command("ZRANGE", QUEUE, 0, -1, "WITHSCORES")
    bench.store.command("ZREM", QUEUE, f"{jobs[1].ref.task_id}:0")
    assert not check(bench, repair=True).unrepaired
    assert bench.store.command("ZRANGE", QUEUE, 0, -1, "WITHSCORES") == before


@pytest.mark.parametrize("make", [queued, running, at_second_step])
def test_a_task_gets_back_the_deadline_that_it_had(store: Store, make: Callable[[Bench], Job]) -> None:
    bench = Bench(store)
    job = make(bench)
    deadline = bench.deadline_ms(job)
    bench.store.command("ZREM", keys.OPEN_TASKS, job.ref.task_id)
    assert not check(bench, repair=True).unrepaired
    assert bench.deadline_ms(job) == deadline


def test_a_task_that_nobody_sweeps_is_ended_refunded(store: Store) -> None:
    """D17: what has no message any more waits for ever only while nobody looks."""
    bench = Bench(store)
    job = _overdue(bench)
    report = check(bench, repair=True)
    assert report.differences[0].what.endswith("two sweeps: ended as lost")
    assert bench.record(job)["state"] == "failed"
    assert bench.balance() == 8


def test_an_overdue_step_that_was_never_published_is_left_to_the_next_touch(store: Store) -> None:
    bench = Bench(store)
    job = _overdue_second_step(bench)
    report = check(bench, repair=True)
    assert report.differences[0].what.endswith(": its message is left to the next touch")
    assert bench.record(job)["published"] == "0"
    assert bench.tasks.begin_publish(job.ref, 1) == 1


def test_an_overdue_task_that_runs_goes_on_running(store: Store) -> None:
    bench = Bench(store)
    job = _overdue_running(bench)
    assert check(bench, repair=True).differences[0].what.endswith(": it runs")
    assert bench.record(job)["state"] == "running"


def test_a_task_that_has_just_become_overdue_is_left_to_the_sweep(store: Store) -> None:
    bench = Bench(store)
    job = queued(bench)
    bench.store.command("ZADD", keys.OPEN_TASKS, bench.now_ms() - 60_000, job.ref.task_id)
    assert check(bench, repair=True).is_clean


# -- slots ------------------------------------------------------------------------------------------------------------


def test_the_slot_of_a_cancelled_attempt_is_told_but_no_difference_and_stays_its_holders(
    store: Store,
) -> None:
    """D5: the call may still run."""
    bench = Bench(store)
    job = running(bench)
    bench.cancel(job)
    report = check(bench, repair=True)
    assert (report.is_clean, report.ending, report.lapsed) == (True, 1, 0)
    assert len(bench.holders(Model.DEEPSEEK_REASONER)) == 1


def test_a_lapsed_lease_is_told_and_dropped_only_on_request(store: Store) -> None:
    """D2: it did not count in the first place."""
    bench = Bench(store)
    job = queued(bench)
    bench.lapse(bench.run(job))
    report = check(bench)
    assert (report.is_clean, report.lapsed, len(bench.holders(Model.DEEPSEEK_REASONER))) == (True, 1, 1)
    assert check(bench, repair=True).is_clean
    assert bench.holders(Model.DEEPSEEK_REASONER) == []


def test_a_slot_that_was_held_for_ever_is_free_after_one_lease(store: Store) -> None:
    bench, _ = repaired(store, _slot_for_ever)
    (expiry,) = bench.store.command("ZRANGE", SLOTS, 0, -1, "WITHSCORES")[1::2]
    assert 0 < int(expiry) - bench.now_ms() <= 30_000


# -- what is no difference ---------------------------------------------------------------------------------------------


def test_ledgers_outlive_records(store: Store) -> None:
    bench = Bench(store)
    jobs = [done(bench), cancelled(bench)]
    bench.store.command("DEL", *(keys.task(job.ref.task_id) for job in jobs))
    assert check(bench).is_clean


def test_an_account_that_only_staff_knows_does_not_differ(store: Store) -> None:
    grant(store, "u1", 5, "case 17", initial=8)
    grant(store, "u1", -13, "case 18", initial=8)
    assert check(Bench(store)).is_clean


def test_a_deleted_user_leaves_nothing_that_differs(store: Store) -> None:
    bench = Bench(store)
    cancelled(bench)
    running_job = running(bench)
    bench.cancel(running_job)
    assert erase_user(store, "u1") is not None
    report = check(bench)
    assert (report.is_clean, report.ending) == (True, 1)


def test_what_is_on_a_later_page_of_a_scan_is_compared_too(store: Store) -> None:
    bench = Bench(store)
    for make in STATES:
        make(bench)
    store.pipeline([["HSET", keys.rate(f"u{number}", "reads"), "count", 1] for number in range(3 * PAGE)])
    before = check(bench)
    assert before.is_clean
    tasks: list[str] = store.command("KEYS", "task:*")
    assert before.checked["task"] >= len(tasks)
    store.pipeline([["HSET", name, "cost", "7"] for name in tasks])
    assert kinds(check(bench)).count("debit") == len(tasks)
