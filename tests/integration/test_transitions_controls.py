"""What the transitions make of an operator's controls: limits at run time, stopped lanes, draining."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, Lane, Model, Tier
from shared.state import keys
from shared.state.controls import Controller, read_controls
from shared.state.locks import live_holders
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, new_ref, poll

MODEL = Model.DEEPSEEK_REASONER
LANE = Lane.PAID_STREAM
WHO: dict[str, Any] = {"by": "ada", "reason": "r"}
BRIEFLY = 0.02
"""Seconds; short enough to be waited for."""


@pytest.fixture
def controller(store: Store) -> Controller:
    return Controller(store)


# -- slots -----------------------------------------------------------------------------------------------------------


def test_slots_lowered_below_what_is_in_use_let_attempts_go_on_and_none_begin(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    running = [bench.run(bench.admit()) for _ in range(3)]
    waiting = bench.admit()
    controller.set_slots(MODEL, Tier.PAID, 2, **WHO)
    assert all(bench.tasks.renew(attempt) for attempt in running)
    assert bench.claim(waiting).status == "no_slot"
    bench.finish(running.pop())
    assert bench.claim(waiting).status == "no_slot"
    bench.finish(running.pop())
    assert bench.claim(waiting).status == "claimed"


def test_slots_raised_let_waiting_tasks_begin_at_once(store: Store, controller: Controller) -> None:
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "1"})
    bench.run(bench.admit())
    waiting = bench.admit()
    assert bench.claim(waiting).status == "no_slot"
    controller.set_slots(MODEL, Tier.PAID, 2, **WHO)
    assert bench.claim(waiting).status == "claimed"


def test_slots_of_one_pair_leave_the_others_as_configured(store: Store, controller: Controller) -> None:
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "2"})
    controller.set_slots(Model.DEEPSEEK_CHAT, Tier.PAID, 1, **WHO)
    controller.set_slots(Model.GLM_FLASH, Tier.FREE, 1, **WHO)
    assert [bench.claim(bench.admit()).status for _ in range(3)] == ["claimed", "claimed", "no_slot"]


def test_between_two_claims_a_limit_ends_by_itself(store: Store, controller: Controller) -> None:
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "2"})
    bench.run(bench.admit())
    waiting = bench.admit()
    controller.set_slots(MODEL, Tier.PAID, 1, **WHO)
    assert bench.claim(waiting).status == "no_slot"
    controller.set_slots(MODEL, Tier.PAID, 1, **WHO, for_seconds=BRIEFLY)
    poll(lambda: not read_controls(store).slots)
    assert bench.claim(waiting).status == "claimed"


def test_slots_set_while_many_claim_at_once_are_never_exceeded(store: Store, controller: Controller) -> None:
    """Promise 4, with a limit that changes: after the change nobody begins above it."""
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "40"})
    jobs = [bench.admit(f"u{i}") for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        claims = [pool.submit(bench.claim, job) for job in jobs]
        controller.set_slots(MODEL, Tier.PAID, 1, **WHO)
        began = live_holders(store, MODEL, Tier.PAID)
        claimed = sum(claim.result().status == "claimed" for claim in claims)
    assert claimed == live_holders(store, MODEL, Tier.PAID)
    assert claimed <= max(began, 1)


def test_a_lapsed_lease_is_not_taken_again_above_a_lowered_limit(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    lapsed, other = bench.run(bench.admit()), bench.run(bench.admit())
    controller.set_slots(MODEL, Tier.PAID, 1, **WHO)
    bench.lapse(lapsed)
    assert bench.tasks.renew(lapsed) is False
    bench.finish(other)
    assert bench.tasks.renew(lapsed) is True


def test_a_dead_attempts_holder_goes_when_it_is_taken_over_though_slots_are_free(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    dead = bench.run(job)
    bench.lapse(dead)
    attempt = bench.run(job)
    assert bench.holders(MODEL) == [attempt.holder]


def test_holders_that_lapsed_make_room_when_the_set_looks_full(store: Store) -> None:
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "2"})
    dead, alive = bench.run(bench.admit()), bench.run(bench.admit())
    bench.lapse(dead)
    attempt = bench.run(bench.admit())
    assert set(bench.holders(MODEL)) == {alive.holder, attempt.holder}


def test_what_is_published_next_says_the_slots_that_are_set(store: Store, controller: Controller) -> None:
    bench = Bench(store)
    controller.set_slots(MODEL, Tier.PAID, 7, **WHO)
    ref = new_ref()
    assert bench.ask(ref=ref).slots == 7
    record = bench.tasks.read(ref.task_id)
    assert record is not None
    assert record["slots"] == 7
    job = bench.admit()
    bench.publish(job)
    assert bench.requeue(job).slots == 7
    controller.clear_slots(MODEL, Tier.PAID, by="ada")
    assert bench.ask().slots is None


# -- places ----------------------------------------------------------------------------------------------------------


def test_places_set_by_an_operator_decide_admission(store: Store, controller: Controller) -> None:
    bench = Bench(store, {"QUEUE_MAX_SIZE": "1"})
    bench.admit()
    assert bench.ask().status == "queue_full"
    controller.set_places(LANE, 2, **WHO)
    bench.admit()
    assert (bench.ask().status, bench.ask().queue_id) == ("queue_full", "paid_stream")


def test_places_lowered_below_what_is_in_the_queue_leave_what_is_there(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    jobs = [bench.admit() for _ in range(3)]
    controller.set_places(LANE, 2, **WHO)
    bench.finish(bench.run(jobs.pop()))
    assert bench.ask().status == "queue_full"
    bench.finish(bench.run(jobs.pop()))
    assert bench.ask().status == "accepted"


def test_no_places_at_all_admit_nothing_to_the_lane_and_to_no_task_that_would_visit_it(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    controller.set_places(LANE, 0, **WHO)
    assert bench.ask().status == "queue_full"
    assert bench.ask(plan=CREATE_SERVICE_IMAGE).queue_id == "paid_stream"
    assert bench.places(Lane.PAID_VISION) == []


# -- stopped lanes -----------------------------------------------------------------------------------------------------


def test_a_stopped_lane_refuses_deliveries_and_burns_no_attempt(store: Store, controller: Controller) -> None:
    bench = Bench(store)
    job = bench.admit()
    controller.stop(LANE, **WHO)
    claims = [bench.claim(job) for _ in range(bench.time.task_retries + 2)]
    assert {claim.status for claim in claims} == {"lane_stopped"}
    assert claims[0].retry_after_seconds == 30
    assert bench.record(job)["attempt"] == "0"
    assert {k: bench.last(job)[k] for k in ("type", "reason", "retryAfter")} == {
        "type": "backpressure",
        "reason": "lane_stopped",
        "retryAfter": 30,
    }
    controller.start(LANE, by="ada")
    assert bench.claim(job).status == "claimed"


def test_a_stop_with_an_end_says_when_to_come_back(store: Store, controller: Controller) -> None:
    bench = Bench(store)
    job = bench.admit()
    controller.stop(LANE, **WHO, for_seconds=5)
    assert 1 <= (bench.claim(job).retry_after_seconds or 0) <= 5
    controller.stop(LANE, **WHO, for_seconds=3600)
    assert bench.claim(job).retry_after_seconds == 30


def test_a_stop_ends_by_itself_between_two_claims(store: Store, controller: Controller) -> None:
    bench = Bench(store)
    job = bench.admit()
    controller.stop(LANE, **WHO, for_seconds=BRIEFLY)
    poll(lambda: bench.claim(job).status == "claimed")


def test_a_stopped_lane_lets_its_running_attempts_go_on_to_their_end(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    attempt = bench.run(bench.admit())
    controller.stop(LANE, **WHO)
    assert bench.tasks.renew(attempt) is True
    assert bench.finish(attempt) == "done"


def test_a_stopped_lane_admits_until_it_is_full(store: Store, controller: Controller) -> None:
    bench = Bench(store, {"QUEUE_MAX_SIZE": "2"}, initial_quota=100)
    for _ in range(3):
        bench.finish(bench.run(bench.admit()))
    controller.stop(LANE, **WHO)
    bench.admit()
    bench.admit()
    refused = bench.ask("u2")
    assert (refused.status, refused.retry_after_seconds) == ("queue_full", 60)
    assert store.command("EXISTS", keys.promised(LANE)) == 0


def test_a_stopped_lane_stops_no_other(store: Store, controller: Controller) -> None:
    bench = Bench(store)
    controller.stop(Lane.PAID_BATCH, **WHO)
    assert bench.claim(bench.admit()).status == "claimed"


@pytest.mark.parametrize("touch", ["claim", "requeue", "sweep"])
def test_a_task_whose_waiting_budget_runs_out_in_a_stopped_lane_ends_wait_timeout_refunded(
    store: Store, controller: Controller, touch: str
) -> None:
    """Promise 5: nothing waits without an end, not even for an operator."""
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    controller.stop(LANE, **WHO)
    assert bench.claim(job).status == "lane_stopped"
    bench.wait_long(job)
    bench.make_overdue(job)
    getattr(bench, touch)(job)
    record = bench.record(job)
    assert (record["state"], record["errorCode"], record["refunded"]) == ("failed", "wait_timeout", "1")


def test_a_message_that_a_stopped_lane_refused_comes_back_when_the_lane_may_go_on(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    controller.stop(LANE, **WHO)
    assert (bench.requeue(job).status, bench.requeue(job, "m2").delay_seconds) == ("publish", 30)


def test_a_refusal_of_a_stopped_lane_proves_that_the_message_is_out(
    store: Store, controller: Controller
) -> None:
    """As one for a full slot: the task is not taken for unpublished while its lane stands still."""
    bench = Bench(store)
    job = bench.admit()
    controller.stop(LANE, **WHO)
    bench.claim(job)
    assert bench.record(job)["published"] == "1"
    assert bench.deadline_ms(job) > bench.now_ms() + 400_000


def test_an_attempt_that_died_in_a_stopped_lane_is_taken_over_when_it_goes_on(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.lapse(bench.run(job))
    controller.stop(LANE, **WHO)
    assert bench.claim(job).status == "lane_stopped"
    assert bench.holders(MODEL) == []
    controller.start(LANE, by="ada")
    assert bench.run(job).number == 2


# -- draining ----------------------------------------------------------------------------------------------------------


def test_draining_admits_nothing_and_writes_nothing_but_its_count(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    controller.drain(**WHO)
    before = bench.dump()
    refused = bench.ask()
    assert (refused.status, refused.retry_after_seconds) == ("draining", 60)
    assert bench.dump() == before
    controller.drain(**WHO, for_seconds=5)
    assert 1 <= (bench.ask().retry_after_seconds or 0) <= 5
    controller.resume(by="ada")
    assert bench.ask().status == "accepted"


def test_draining_lets_what_was_admitted_go_on_and_its_second_step_too(
    store: Store, controller: Controller
) -> None:
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    attempt = bench.run(job)
    controller.drain(**WHO)
    assert bench.finish(attempt) == "step_done"
    bench.publish(job, step=1)
    assert bench.finish(bench.run(job, step=1)) == "done"


def test_draining_answers_a_repeated_request_with_its_task(store: Store, controller: Controller) -> None:
    bench, key = Bench(store), uuid.uuid4().hex
    job = bench.admit(idempotency_key=key)
    controller.drain(**WHO)
    again = bench.ask(idempotency_key=key)
    assert (again.status, again.task_id) == ("replay", job.ref.task_id)
