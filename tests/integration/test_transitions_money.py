"""Money is exact: debited once, refunded at most once, and only what did not end `done`."""

from __future__ import annotations

import itertools

import pytest

from shared.routing import (
    CREATE_SERVICE_IMAGE,
    CREATE_SERVICE_TEXT,
    CUSTOMIZE_RESUME,
    INTERVIEW_TIPS,
    UPLOAD_DETAILED_RESUME,
    UPLOAD_RESUME,
    Plan,
    Tier,
)
from shared.state.quota import read_quota
from shared.state.store import Store
from tests.integration.transitions_kit import Bench

PLANS = [
    UPLOAD_RESUME,
    UPLOAD_DETAILED_RESUME,
    CREATE_SERVICE_TEXT,
    CREATE_SERVICE_IMAGE,
    CUSTOMIZE_RESUME,
    INTERVIEW_TIPS,
]
FAILING_ENDS = ["fail", "cancel", "fail_unpublished", "refused", "swept"]


def _end(bench: Bench, end: str) -> None:
    job = bench.admit()
    if end == "fail":
        bench.fail(bench.run(job))
    elif end == "cancel":
        bench.cancel(job)
    elif end == "fail_unpublished":
        bench.fail_unpublished(job)
    elif end == "refused":
        bench.requeue(job, refused=True)
    else:
        bench.make_overdue(job)
        bench.sweep(job)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.action}-{len(plan.steps)}")
def test_an_action_costs_what_its_plan_says_however_many_steps_it_has(store: Store, plan: Plan) -> None:
    bench = Bench(store)
    bench.admit(plan=plan)
    assert bench.ledger() == [("grant", 8), ("debit", -plan.cost)]
    assert read_quota(store, "u1", initial=8).balance == 8 - plan.cost


def test_a_user_is_granted_the_initial_quota_once(store: Store) -> None:
    bench = Bench(store)
    for _ in range(3):
        bench.admit(plan=UPLOAD_RESUME)
    assert [kind for kind, _ in bench.ledger()] == ["grant", "debit", "debit", "debit"]


def test_too_little_balance_takes_the_free_tier_and_costs_nothing(store: Store) -> None:
    """D19: nobody is paid for free; D8: the tier is the record's from then on."""
    bench = Bench(store, initial_quota=1)
    job = bench.admit()
    assert (job.tier, bench.record(job)["cost"]) == (Tier.FREE, "0")
    assert (bench.balance(), bench.ledger()) == (1, [("grant", 1)])


def test_the_last_coins_are_spent_to_zero_and_never_below(store: Store) -> None:
    bench = Bench(store, initial_quota=4)
    assert [bench.admit().tier for _ in range(4)] == [Tier.PAID, Tier.PAID, Tier.FREE, Tier.FREE]
    assert bench.balance() == 0


@pytest.mark.parametrize("end", FAILING_ENDS)
def test_a_free_task_is_never_refunded(store: Store, end: str) -> None:
    """D15."""
    bench = Bench(store, initial_quota=0)
    _end(bench, end)
    assert (bench.balance(), bench.ledger()) == (0, [("grant", 0)])


@pytest.mark.parametrize("end", FAILING_ENDS)
def test_a_paid_task_that_did_not_end_done_is_refunded(store: Store, end: str) -> None:
    """D14, D18, D20."""
    bench = Bench(store)
    _end(bench, end)
    assert bench.ledger() == [("grant", 8), ("debit", -2), ("refund", 2)]
    assert bench.balance() == 8


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["fail", "cancel", "release", "unpublished", "sweep"]))
)
def test_a_task_is_refunded_once_in_any_order_of_its_ends(store: Store, order: tuple[str, ...]) -> None:
    """D15: four refunds for one debit were seen."""
    bench = Bench(store, task_retries=0)
    job = bench.admit()
    attempt = bench.run(job)
    for end in order:
        if end == "sweep":
            bench.make_overdue(job)
            bench.sweep(job)
        elif end == "cancel":
            bench.cancel(job)
        elif end == "unpublished":
            bench.fail_unpublished(job)
        else:
            getattr(bench, end)(attempt)
    assert bench.ledger() == [("grant", 8), ("debit", -2), ("refund", 2)]


def test_a_task_that_ended_done_is_never_refunded(store: Store) -> None:
    """D15."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    bench.finish(attempt)
    bench.fail(attempt)
    bench.release(attempt)
    bench.cancel(job)
    bench.fail_unpublished(job)
    bench.requeue(job, refused=True)
    bench.make_overdue(job)
    bench.sweep(job)
    assert bench.ledger() == [("grant", 8), ("debit", -2)]


def test_every_line_of_the_ledger_says_what_it_was_for_and_what_it_left(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.cancel(job)
    grant, debit, refund = read_quota(store, "u1", initial=8).ledger
    assert (grant["kind"], grant["balance"], "taskId" in grant) == ("grant", 8, False)
    assert (debit["delta"], debit["balance"], debit["taskId"]) == (-2, 6, job.ref.task_id)
    assert (refund["delta"], refund["balance"], refund["action"]) == (2, 8, "create-service")
    assert grant["at"] <= debit["at"] <= refund["at"]


def test_a_user_never_seen_has_the_initial_quota(store: Store) -> None:
    quota = read_quota(store, "nobody", initial=8)
    assert (quota.balance, quota.ledger) == (8, [])
