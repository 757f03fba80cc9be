"""Whatever differs from the task records is found, named and, where nothing has to be invented, repaired: once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from shared.routing import Model, Tier
from shared.state import keys
from shared.state.controls import Controller, most_slots_since
from shared.state.erasure import erase_user
from shared.state.quota import grant
from shared.state.reconciliation import PAGE
from shared.state.store import Store
from tests.integration.reconcile_kit import (
    CASES,
    QUEUE,
    SLOTS,
    STATES,
    Case,
    at_second_step,
    cancelled,
    check,
    done,
    kinds,
    not_refunded,
    not_refunded_though_it_says_so,
    overdue,
    overdue_running,
    overdue_second_step,
    queued,
    refunded_though_done,
    refunded_though_open,
    refunded_twice,
    refunded_twice_and_spent,
    running,
    slot_for_ever,
)
from tests.integration.transitions_kit import Bench, Job


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


@pytest.mark.parametrize("harm", [not_refunded, not_refunded_though_it_says_so])
def test_a_missing_refund_is_paid_by_the_function_that_refunds(
    store: Store, harm: Callable[[Bench], Job]
) -> None:
    bench, job = repaired(store, harm)
    assert bench.balance() == 8
    assert bench.ledger() == [("grant", 8), ("debit", -2), ("refund", 2)]
    assert bench.record(job)["refunded"] == "1"


def test_a_doubled_refund_is_taken_back_under_a_reference_that_names_its_task(store: Store) -> None:
    bench, job = repaired(store, refunded_twice)
    assert bench.balance() == 8
    last = json.loads(bench.store.command("LINDEX", keys.ledger("u1"), -1))
    assert (last["kind"], last["delta"], last["balance"]) == ("grant", -2, 8)
    assert last["reference"] == f"reconcile-{job.ref.task_id}"


def test_a_refund_of_a_done_task_is_taken_back_and_its_record_says_so(store: Store) -> None:
    bench, job = repaired(store, refunded_though_done)
    assert bench.balance() == 6
    assert bench.record(job)["refunded"] == "0"


def test_a_task_whose_early_refund_was_taken_back_is_refunded_when_it_fails(store: Store) -> None:
    bench, job = repaired(store, refunded_though_open)
    assert bench.balance() == 6
    bench.fail(bench.run(job))
    assert bench.balance() == 8
    assert check(bench).is_clean


def test_coins_that_a_user_has_spent_are_never_taken_back(store: Store) -> None:
    bench = Bench(store)
    refunded_twice_and_spent(bench)
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
    job = overdue(bench)
    report = check(bench, repair=True)
    assert report.differences[0].what.endswith("two sweeps: ended as lost")
    assert bench.record(job)["state"] == "failed"
    assert bench.balance() == 8


def test_an_overdue_step_that_was_never_published_is_left_to_the_next_touch(store: Store) -> None:
    bench = Bench(store)
    job = overdue_second_step(bench)
    report = check(bench, repair=True)
    assert report.differences[0].what.endswith(": its message is left to the next touch")
    assert bench.record(job)["published"] == "0"
    assert bench.tasks.begin_publish(job.ref, 1) == 1


def test_an_overdue_task_that_runs_goes_on_running(store: Store) -> None:
    bench = Bench(store)
    job = overdue_running(bench)
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
    bench, _ = repaired(store, slot_for_ever)
    (expiry,) = bench.store.command("ZRANGE", SLOTS, 0, -1, "WITHSCORES")[1::2]
    assert 0 < int(expiry) - bench.now_ms() <= 30_000


# -- what is no difference ---------------------------------------------------------------------------------------------


def test_attempts_that_began_by_an_operators_limit_differ_from_nothing(store: Store) -> None:
    """Also after it has been lowered, cleared, or has ended by itself."""
    bench, controller = Bench(store, {"DEEPSEEK_MAX_WORKERS": "1"}), Controller(store)
    pair = (Model.DEEPSEEK_REASONER, Tier.PAID)
    controller.set_slots(*pair, 3, by="ada", reason="r", for_seconds=60)
    for _ in range(3):
        bench.run(bench.admit())
    assert check(bench).is_clean
    controller.set_slots(*pair, 2, by="ada", reason="r", for_seconds=0.001)
    assert check(bench).is_clean
    controller.clear_slots(*pair, by="ada")
    assert check(bench).is_clean
    bench.store.command("ZADD", SLOTS, bench.now_ms() + 10_000, "t9:0:9")
    assert "hold a slot, of 3 that there are" in check(bench, repair=False).differences[-1].what


@pytest.mark.parametrize(("since_ms", "most"), [(0, 9), (150, 9), (250, 7), (350, 6), (450, 0)])
def test_only_a_limit_that_was_in_force_since_a_moment_allows_what_runs(
    store: Store, since_ms: int, most: int
) -> None:
    changes = [(300, 6, 400), (200, 7, None), (100, 9, None)]  # newest first: when, how many, until when
    for at_ms, value, until_ms in changes:
        after = {"value": value, "by": "a", "reason": "r", "sinceMs": at_ms, "untilMs": until_ms}
        named = {"kind": "slots", "name": "deepseek-reasoner:paid", "by": "a", "reason": "r"}
        line = json.dumps({"at": at_ms, **named, "before": None, "after": after})
        store.command("RPUSH", keys.CONTROL_CHANGES, line)
    assert most_slots_since(store, Model.DEEPSEEK_REASONER, Tier.PAID, since_ms) == most
    assert most_slots_since(store, Model.DEEPSEEK_CHAT, Tier.PAID, since_ms) == 0


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
