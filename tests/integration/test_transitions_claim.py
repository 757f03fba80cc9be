"""Claims, model slots and leases: a slot always comes back, and only its holder gives it back."""

from __future__ import annotations

import dataclasses
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, Lane, Model, Template, Tier
from shared.state import keys
from shared.state.lifecycle import Step
from shared.state.locks import live_holders
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, Job, new_ref, poll

ONE_SLOT = {"DEEPSEEK_MAX_WORKERS": "1"}
MODEL = Model.DEEPSEEK_REASONER


def test_a_claim_takes_a_slot_and_writes_start_with_the_attempts_epoch(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    assert bench.holders(MODEL) == [attempt.holder]
    assert bench.events(job)[-1].id == f"{attempt.epoch}-0"
    assert {k: bench.last(job)[k] for k in ("type", "attempt", "step", "templateId", "queueId")} == {
        "type": "start",
        "attempt": 1,
        "step": 0,
        "templateId": "job_match",
        "queueId": "paid_stream",
    }


def test_a_claimed_attempt_carries_what_the_worker_needs(store: Store) -> None:
    """D38: from the record, because the message holds ids only."""
    attempt = Bench(store).run(Bench(store).admit())
    assert (attempt.input, attempt.locale, attempt.number, attempt.is_last_step) == (
        {"text": "words"},
        "en",
        1,
        True,
    )


def test_a_claim_keeps_the_tasks_queue_place(store: Store) -> None:
    """D6: the place is given back when the step ends, and a position never jumps."""
    bench = Bench(store)
    job = bench.admit()
    bench.run(job)
    assert bench.places(Lane.PAID_STREAM) == [f"{job.ref.task_id}:0"]


def test_d10_concurrent_claims_never_pass_the_slots(store: Store) -> None:
    """D1, D10: against the real Redis, from many threads."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "3"})
    jobs = [bench.admit(f"u{i}") for i in range(40)]
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(bench.claim, jobs))
    assert Counter(claim.status for claim in claims) == {"claimed": 3, "no_slot": 37}
    assert live_holders(store, MODEL, Tier.PAID) == 3


def test_concurrent_deliveries_of_one_message_make_one_attempt(store: Store) -> None:
    """D16."""
    bench = Bench(store)
    job = bench.admit()
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(bench.claim, [job] * 40))
    assert Counter(claim.status for claim in claims) == {"claimed": 1, "busy": 39}
    assert bench.types(job).count("start") == 1


def test_a_refusal_for_a_full_slot_is_a_backpressure_event_and_goes_through_after_a_release(
    store: Store,
) -> None:
    """D12, D13: not lost, not terminal, and no attempt is used up."""
    bench = Bench(store, ONE_SLOT)
    running, waiting = bench.run(bench.admit()), bench.admit()
    refused = bench.claim(waiting)
    assert (refused.status, refused.retry_after_seconds) == ("no_slot", 5)
    assert {k: bench.last(waiting)[k] for k in ("type", "reason", "retryAfter")} == {
        "type": "backpressure",
        "reason": "no_slot",
        "retryAfter": 5,
    }
    bench.release(running)
    assert bench.run(waiting).number == 1


@pytest.mark.parametrize("end", ["finish", "fail", "release"])
def test_a_slot_is_free_as_soon_as_its_attempt_is_over(store: Store, end: str) -> None:
    bench = Bench(store, ONE_SLOT)
    getattr(bench, end)(bench.run(bench.admit()))
    assert bench.holders(MODEL) == []


def test_the_slot_of_one_step_is_free_before_the_next_step_is_published(store: Store) -> None:
    """D11: no step is ever refused by the lock of the one before."""
    bench = Bench(store, {"GLM_MAX_WORKERS": "1", "DEEPSEEK_MAX_WORKERS": "1"})
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    assert bench.finish(bench.run(job)) == "step_done"
    assert bench.holders(Model.GLM_VISION) == []
    assert bench.publish(job, 1) == 1
    assert bench.claim(job, 1).status == "claimed"


def test_slots_of_one_tier_are_not_the_others(store: Store) -> None:
    """A free batch never holds up a paying user."""
    bench = Bench(store, {"GLM_MAX_WORKERS": "1"}, initial_quota=2)
    paid = bench.admit("rich", CREATE_SERVICE_IMAGE)
    free = Bench(store, {"GLM_MAX_WORKERS": "1"}, initial_quota=0).admit("poor", CREATE_SERVICE_IMAGE)
    assert paid.steps[0].model is free.steps[0].model
    assert (bench.claim(free).status, bench.claim(paid).status) == ("claimed", "claimed")


def test_a_killed_holders_slot_is_free_after_its_lease(store: Store) -> None:
    """D1, D2: also while others keep trying; nobody renews a stranger's lease."""
    bench = Bench(store, ONE_SLOT, lease_seconds=0.2)
    bench.run(bench.admit())
    waiting = bench.admit()
    assert bench.claim(waiting).status == "no_slot"
    poll(lambda: bench.claim(waiting).status == "claimed")


def test_two_crashes_do_not_block_a_model(store: Store) -> None:
    """D2."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "2"})
    for _ in range(2):
        bench.lapse(bench.run(bench.admit()))
    assert [bench.claim(bench.admit()).status for _ in range(2)] == ["claimed", "claimed"]


def test_a_lease_outlives_its_first_length_while_it_is_renewed(store: Store) -> None:
    """D1: a lease shorter than the job does not free the slot under a worker that lives."""
    bench = Bench(store, ONE_SLOT, lease_seconds=0.3)
    attempt, started_ms = bench.run(bench.admit()), bench.now_ms()
    waiting = bench.admit()

    def renewed_past_the_first_lease() -> bool:
        assert bench.tasks.renew(attempt)
        assert bench.claim(waiting).status == "no_slot"
        return bench.now_ms() > started_ms + 600

    poll(renewed_past_the_first_lease)


def test_a_delivery_of_a_running_task_is_told_when_to_come_back(store: Store) -> None:
    """D16: a duplicate waits for the lease; it neither runs the task again nor drops it."""
    bench = Bench(store)
    job = bench.admit()
    bench.run(job)
    busy = bench.claim(job)
    assert busy.status == "busy"
    assert busy.retry_after_seconds is not None
    assert 1 <= busy.retry_after_seconds <= 30


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_a_delivery_of_an_ended_task_is_a_duplicate(store: Store, end: str) -> None:
    """D16."""
    bench = Bench(store)
    job = bench.admit()
    _end(bench, job, end)
    before = bench.dump()
    assert bench.claim(job).status == "duplicate"
    assert bench.dump() == before


def test_a_delivery_of_an_earlier_step_is_a_duplicate(store: Store) -> None:
    """D16, D17."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    assert bench.claim(job, 0).status == "duplicate"


def test_a_delivery_of_a_later_step_is_refused(store: Store) -> None:
    """D17: the match never runs before the advertisement has been read."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    assert bench.claim(job, 1).status == "mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"lane": Lane.FREE_STREAM},
        {"model": Model.DEEPSEEK_CHAT},
        {"template": Template.INTERVIEW_PREP},
    ],
)
def test_a_message_that_disagrees_with_the_record_is_refused(store: Store, change: dict[str, Any]) -> None:
    """D7."""
    bench = Bench(store)
    job = bench.admit()
    wrong = dataclasses.replace(job.steps[0], **change)
    before = bench.dump()
    assert bench.claim(dataclasses.replace(job, steps=(wrong,))).status == "mismatch"
    assert bench.dump() == before


def test_a_message_of_another_tier_is_refused(store: Store) -> None:
    """D8: a free task never runs as a paid one."""
    bench = Bench(store, initial_quota=0)
    job = bench.admit()
    assert job.tier is Tier.FREE
    assert bench.claim(dataclasses.replace(job, tier=Tier.PAID)).status == "mismatch"


def test_a_message_that_names_another_user_is_refused(store: Store) -> None:
    """D25."""
    bench = Bench(store)
    job = bench.admit()
    stranger = dataclasses.replace(job.ref, user_id="u2")
    assert bench.claim(dataclasses.replace(job, ref=stranger)).status == "mismatch"


def test_a_task_that_was_never_admitted_is_unknown(store: Store) -> None:
    step = Step(Template.JOB_MATCH, Lane.PAID_STREAM, MODEL, 1000)
    assert Bench(store).claim(Job(new_ref(), Tier.PAID, (step,))).status == "unknown"
    assert set(store.command("KEYS", "*")) == {keys.TALLIES}


def test_attempts_are_counted_by_claims_that_ran(store: Store) -> None:
    """D14: neither a full slot nor a duplicate uses one up."""
    bench = Bench(store, ONE_SLOT)
    other, job = bench.admit(), bench.admit()
    blocker = bench.run(other)
    for _ in range(5):
        assert bench.claim(job).status == "no_slot"
    bench.release(blocker)
    attempt = bench.run(job)
    assert bench.claim(job).status == "busy"
    bench.release(attempt)
    assert bench.run(job).number == 2


def test_a_lapsed_attempt_is_taken_over_by_the_next_delivery(store: Store) -> None:
    bench = Bench(store, ONE_SLOT)
    job = bench.admit()
    dead = bench.run(job)
    bench.lapse(dead)
    successor = bench.run(job)
    assert successor.number == 2
    assert int(successor.epoch) > int(dead.epoch)
    assert bench.holders(MODEL) == [successor.holder]


def test_a_lapsed_attempt_is_over_once_a_delivery_found_it_dead_though_no_slot_was_free(store: Store) -> None:
    """Its stream is fenced by the backpressure event: renewing or finishing it would show half a text as whole."""
    bench = Bench(store, ONE_SLOT)
    job, other = bench.admit(), bench.admit()
    dead = bench.run(job)
    bench.lapse(dead)
    blocker = bench.run(other)
    assert bench.claim(job).status == "no_slot"
    bench.release(blocker)
    assert bench.tasks.renew(dead) is False
    assert bench.finish(dead) == "superseded"
    assert bench.run(job).number == 2


def test_a_claimed_task_is_overdue_after_its_longest_run_and_the_rest_of_its_budget(store: Store) -> None:
    """Long enough for a killed worker's message to come again, and not for ever."""
    bench = Bench(store)
    job = bench.admit()
    store.command("HINCRBY", keys.task(job.ref.task_id), "waitingSince", -100_000)
    bench.run(job)
    record = bench.record(job)
    left_ms = 480_000 - int(record["waitedMs"])
    assert bench.deadline_ms(job) == int(record["startedAt"]) + 330_000 + left_ms + 30_000


def test_the_last_lost_attempt_ends_the_task_and_gives_everything_back(store: Store) -> None:
    """D14."""
    bench = Bench(store, task_retries=1)
    job = bench.admit()
    for _ in range(2):
        bench.lapse(bench.run(job))
    assert bench.claim(job).status == "exhausted"
    assert bench.last(job)["code"] == "attempts_exhausted"
    assert bench.last(job)["refunded"] is True
    assert (bench.balance(), bench.places(Lane.PAID_STREAM)) == (8, [])


def test_a_task_that_waited_longer_than_its_budget_ends_refunded(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.wait_long(job)
    assert bench.claim(job).status == "wait_timeout"
    assert (bench.last(job)["code"], bench.last(job)["refunded"]) == ("wait_timeout", True)
    assert bench.balance() == 8


def test_time_spent_running_is_not_waiting(store: Store) -> None:
    """The budget is for waiting: an attempt that ran for long and broke may be repeated."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    store.command("HSET", keys.task(job.ref.task_id), "waitingSince", 1)
    bench.release(attempt)
    assert bench.run(job).number == 2


def test_waiting_adds_up_over_the_attempts_of_a_step(store: Store) -> None:
    """Nothing waits without an end: twice 300 s are more than 480 s."""
    bench = Bench(store)
    job = bench.admit()
    for _ in range(2):
        store.command("HINCRBY", keys.task(job.ref.task_id), "waitingSince", -300_000)
        claim = bench.claim(job)
        if claim.attempt:
            bench.release(claim.attempt)
    assert claim.status == "wait_timeout"


def test_a_claim_is_answered_alike_when_its_delivery_sends_it_again(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    first, again = bench.claim(job, nonce="x"), bench.claim(job, nonce="x")
    assert first == again
    assert bench.types(job).count("start") == 1


def test_a_copy_of_a_claim_that_comes_after_its_attempt_is_over_takes_nothing(store: Store) -> None:
    """The reply was lost, the copy came late: nobody would run what it claimed."""
    bench = Bench(store)
    job = bench.admit()
    claim = bench.claim(job, nonce="x")
    assert claim.attempt is not None
    bench.release(claim.attempt)
    assert bench.claim(job, nonce="x").status == "busy"
    assert bench.holders(MODEL) == []


def test_a_slot_is_given_back_by_its_own_holder_only(store: Store) -> None:
    """D5: a late worker that wakes up releases, fails or finishes its own attempt, never its successor's slot."""
    bench = Bench(store, ONE_SLOT)
    job = bench.admit()
    late = bench.run(job)
    bench.lapse(late)
    successor = bench.run(job)
    assert [bench.release(late), bench.fail(late), bench.finish(late)] == ["superseded"] * 3
    bench.tasks.release_slot(late)
    assert bench.tasks.renew(late) is False
    assert bench.holders(MODEL) == [successor.holder]
    assert bench.finish(successor) == "done"


def test_a_lease_that_lapsed_unnoticed_is_taken_again_when_a_slot_is_free(store: Store) -> None:
    bench = Bench(store, ONE_SLOT)
    attempt = bench.run(bench.admit())
    bench.lapse(attempt)
    assert bench.tasks.renew(attempt) is True
    assert live_holders(store, MODEL, Tier.PAID) == 1


def test_a_lease_that_lapsed_unnoticed_is_lost_when_another_holds_the_slot(store: Store) -> None:
    """D5: it is not renewed over the limit."""
    bench = Bench(store, ONE_SLOT)
    attempt = bench.run(bench.admit())
    bench.lapse(attempt)
    other = bench.run(bench.admit())
    assert bench.tasks.renew(attempt) is False
    assert bench.holders(MODEL) == [other.holder]


def test_a_cancelled_attempt_keeps_its_slot_until_its_holder_gives_it_back(store: Store) -> None:
    """The provider call still runs: the limit must count it."""
    bench = Bench(store, ONE_SLOT)
    job = bench.admit()
    attempt = bench.run(job)
    bench.cancel(job)
    assert bench.claim(bench.admit()).status == "no_slot"
    bench.tasks.release_slot(attempt)
    assert bench.claim(bench.admit()).status == "claimed"


def _end(bench: Bench, job: Job, end: str) -> None:
    if end == "cancel":
        bench.cancel(job)
    else:
        getattr(bench, end)(bench.run(job))


def test_d20_a_delivery_that_waits_proves_that_its_message_is_out(store: Store) -> None:
    """D20: the publish could not be confirmed; the task waits for its turn, and is not taken for lost."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "1"})
    bench.run(bench.admit("u1"))
    waiting = bench.admit("u2")
    soon = bench.deadline_ms(waiting)
    assert bench.claim(waiting).status == "no_slot"
    assert bench.record(waiting)["published"] == "1"
    assert bench.deadline_ms(waiting) - soon > 400_000
    assert bench.publish(waiting) == 0


def test_a_delivery_of_an_older_message_proves_nothing_of_a_newer_one(store: Store) -> None:
    """D12: the callback that was to publish it died before it did: the next touch has to."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "1"})
    bench.run(bench.admit("u1"))
    waiting = bench.admit("u2")
    bench.publish(waiting)
    assert bench.requeue(waiting).status == "publish"
    assert bench.claim(waiting).status == "no_slot"
    assert bench.record(waiting)["published"] == "0"


def test_a_full_slot_names_the_time_by_the_place_in_the_queue(store: Store) -> None:
    """D12: who is first comes back first."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "1"})
    bench.run(bench.admit("u0"))
    waiting = [bench.admit(f"u{i}") for i in range(1, 4)]
    later_ms = bench.now_ms() + 10_000  # these were admitted a moment apart, after the one that runs
    for number, job in enumerate(waiting):
        store.command("ZADD", keys.queue(Lane.PAID_STREAM), "XX", later_ms + number, f"{job.ref.task_id}:0")
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", 2000)
    assert [bench.claim(job).retry_after_seconds for job in waiting] == [2, 4, 6]


def test_d2_what_a_killed_worker_held_goes_with_the_end_of_its_task(store: Store) -> None:
    """D2: also where no other task of the model comes to take its slot."""
    bench = Bench(store, task_retries=0)
    job = bench.admit()
    attempt = bench.run(job)
    bench.lapse(attempt)
    assert bench.claim(job).status == "exhausted"
    assert bench.holders(attempt.model) == []
