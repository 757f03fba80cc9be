"""How attempts and tasks end: finish, release, fail, cancel."""

from __future__ import annotations

import json

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, UPLOAD_RESUME, Lane, Model
from shared.state import keys
from shared.state.lifecycle import Attempt, State
from shared.state.records import keeps, list_services, read_resume, read_service
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, Job, events_key, new_ref


def _keep(bench: Bench, attempt: Attempt, job: Job, text: str) -> str:
    """Finish an attempt and keep its result, as its worker does."""
    where = keeps(job.steps[attempt.step].template, job.ref)
    return bench.finish(
        attempt, keep_key=where.key, keep_field=where.field, keep={where.field: json.dumps(text)}
    )


def test_a_done_task_has_its_result_and_its_terminal_event_in_one(store: Store) -> None:
    """D18: `done` is written by the script that stores the result, or not at all."""
    bench = Bench(store)
    job = bench.admit()
    assert bench.finish(bench.run(job), {"text": "answer"}) == "done"
    record = bench.record(job)
    assert (record["state"], json.loads(record["result"])) == ("done", {"text": "answer"})
    assert bench.types(job) == ["queued", "start", "done"]


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_an_end_gives_back_all_that_the_task_held(store: Store, end: str) -> None:
    """D6: the index, the user's open tasks and the places of all its steps."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_TEXT if end == "finish" else CREATE_SERVICE_IMAGE)
    attempt = bench.run(job)
    _ = bench.cancel(job) if end == "cancel" else getattr(bench, end)(attempt)
    assert (
        store.command("EXISTS", keys.OPEN_TASKS, keys.active("u1"), *(keys.queue(lane) for lane in Lane)) == 0
    )


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_stream_and_record_live_for_their_time_from_the_end(store: Store, end: str) -> None:
    """D33."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    _ = bench.cancel(job) if end == "cancel" else getattr(bench, end)(attempt)
    assert 86_300_000 < store.command("PTTL", events_key(job)) <= 86_400_000
    assert 604_700_000 < store.command("PTTL", keys.task(job.ref.task_id)) <= 604_800_000


def test_an_attempt_that_is_not_over_the_end_leaves_the_long_life_of_its_stream(store: Store) -> None:
    """D33: the fence is never forgotten while the task is open."""
    bench = Bench(store)
    job = bench.admit()
    bench.release(bench.run(job))
    assert store.command("PTTL", events_key(job)) > 86_400_000


def test_a_finished_step_gives_its_place_back_and_queues_the_next(store: Store) -> None:
    """D6, D17, D36: one task, one channel, one step after the other."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    assert bench.finish(bench.run(job), {"title": "x"}) == "step_done"
    assert bench.places(Lane.PAID_VISION) == []
    assert bench.places(Lane.PAID_STREAM) == [f"{job.ref.task_id}:1"]
    record = bench.record(job)
    assert (record["state"], record["step"], record["attempt"]) == ("queued", "1", "0")
    assert bench.types(job) == ["queued", "start", "step_result", "queued"]
    assert (bench.last(job)["step"], bench.last(job)["queueId"]) == (1, "paid_stream")


def test_a_next_step_is_due_to_be_published_soon(store: Store) -> None:
    """D17: whoever was to publish it may die."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.publish(job)
    bench.finish(bench.run(job))
    assert bench.deadline_ms(job) == int(bench.record(job)["waitingSince"]) + 30_000


def test_each_step_counts_for_the_rate_of_its_own_lane(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    measured = store.command("HMGET", keys.QUEUE_RATES, "paid_vision:ms", "paid_stream:ms")
    assert [ms is not None for ms in measured] == [True, False]


def test_a_next_step_is_told_when_its_turn_comes(store: Store) -> None:
    bench = Bench(store)
    ahead, job = bench.admit(), bench.admit(plan=CREATE_SERVICE_IMAGE)
    store.command("ZADD", keys.queue(Lane.PAID_STREAM), 1, f"{ahead.ref.task_id}:0")
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", 10_000)
    bench.finish(bench.run(job))
    assert (bench.last(job)["position"], bench.last(job)["etaSeconds"]) == (1, 20)


def test_two_steps_cost_once_and_end_in_one_done(store: Store) -> None:
    """D15."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    bench.publish(job, 1)
    assert bench.finish(bench.run(job, 1)) == "done"
    assert bench.ledger() == [("grant", 8), ("debit", -2)]
    assert bench.types(job).count("done") == 1


def test_a_failure_of_the_second_step_refunds_the_one_cost_once(store: Store) -> None:
    """D15: two steps that share one cost never refund it twice."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    bench.fail(bench.run(job, 1))
    bench.fail_unpublished(job)
    assert bench.ledger() == [("grant", 8), ("debit", -2), ("refund", 2)]


def test_attempts_are_counted_for_each_step(store: Store) -> None:
    bench = Bench(store, task_retries=1)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.release(bench.run(job))
    bench.finish(bench.run(job))
    assert bench.run(job, 1).number == 1


def test_a_released_attempt_keeps_its_place_and_its_debit(store: Store) -> None:
    """D6: an attempt that will be repeated gives back its slot only."""
    bench = Bench(store)
    job = bench.admit()
    assert bench.release(bench.run(job)) == "released"
    assert bench.places(Lane.PAID_STREAM) == [f"{job.ref.task_id}:0"]
    assert bench.ledger() == [("grant", 8), ("debit", -2)]
    assert {k: bench.last(job)[k] for k in ("type", "reason", "retryAfter", "attempt")} == {
        "type": "retrying",
        "reason": "provider_error",
        "retryAfter": 2,
        "attempt": 1,
    }


def test_a_released_task_is_overdue_at_the_end_of_what_is_left_of_its_budget(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    store.command("HINCRBY", keys.task(job.ref.task_id), "waitingSince", -100_000)
    bench.release(bench.run(job))
    record = bench.record(job)
    left_ms = 480_000 - int(record["waitedMs"])
    assert left_ms <= 380_000
    assert bench.deadline_ms(job) == int(record["waitingSince"]) + left_ms + 30_000


def test_the_last_attempt_ends_the_task_refunded(store: Store) -> None:
    """D14, D18: whatever the delivery's own count of retries says."""
    bench = Bench(store, task_retries=2)
    job = bench.admit()
    assert [bench.release(bench.run(job)) for _ in range(3)] == ["released", "released", "exhausted"]
    assert {k: bench.last(job)[k] for k in ("type", "code", "refunded", "attempt")} == {
        "type": "error",
        "code": "provider_error",
        "refunded": True,
        "attempt": 3,
    }
    assert bench.balance() == 8


def test_a_task_without_retries_has_one_attempt(store: Store) -> None:
    bench = Bench(store, task_retries=0)
    assert bench.release(bench.run(bench.admit())) == "exhausted"


def test_a_permanent_failure_ends_the_task_at_once(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    assert bench.fail(bench.run(job)) == "failed"
    record = bench.record(job)
    assert (record["state"], record["errorCode"], record["refunded"]) == ("failed", "provider_refused", "1")


@pytest.mark.parametrize("stage", ["queued", "published", "running", "retrying", "next_step"])
def test_a_cancel_ends_a_task_at_any_stage(store: Store, stage: str) -> None:
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    _bring_to(bench, job, stage)
    assert bench.cancel(job) is State.CANCELLED
    assert (bench.last(job)["type"], bench.last(job)["refunded"]) == ("cancelled", True)
    assert bench.places(Lane.PAID_VISION) == bench.places(Lane.PAID_STREAM) == []


def test_a_cancel_of_a_task_that_ended_changes_nothing_and_says_how_it_ended(store: Store) -> None:
    """D15: no refund for what was delivered."""
    bench = Bench(store)
    job = bench.admit()
    bench.finish(bench.run(job))
    assert bench.cancel(job) is State.DONE
    assert bench.balance() == 6


def test_a_cancel_of_a_task_that_never_was_finds_none(store: Store) -> None:
    assert Bench(store).tasks.cancel(new_ref()) is None
    assert store.command("DBSIZE") == 0


def test_a_cancelled_attempt_cannot_finish_renew_or_be_repeated(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    bench.cancel(job)
    assert bench.tasks.renew(attempt) is False
    assert bench.finish(attempt) == "superseded"
    assert bench.release(attempt) == "superseded"
    assert bench.claim(job).status == "duplicate"


def test_an_attempt_that_finishes_before_its_lapsed_lease_was_taken_over_is_done(store: Store) -> None:
    """Its text is whole and its fence unbroken: nothing is gained by running it again."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    bench.lapse(attempt)
    assert bench.finish(attempt) == "done"
    assert bench.holders(Model.DEEPSEEK_REASONER) == []


def test_a_result_is_kept_where_it_is_read_with_the_done_that_shows_it(store: Store) -> None:
    """D23."""
    bench = Bench(store)
    job = bench.admit(plan=UPLOAD_RESUME)
    attempt = bench.run(job)
    assert "summary" not in read_resume(store, "u1")
    _keep(bench, attempt, job, "summary")
    assert read_resume(store, "u1")["summary"] == "summary"


def test_an_older_upload_that_finishes_late_never_replaces_a_newer_result(store: Store) -> None:
    """D23."""
    bench = Bench(store)
    older, newer = bench.admit(plan=UPLOAD_RESUME), bench.admit(plan=UPLOAD_RESUME)
    store.command("HINCRBY", keys.task(older.ref.task_id), "createdAt", -5)
    late = bench.run(older)
    _keep(bench, bench.run(newer), newer, "newer")
    assert _keep(bench, late, older, "older") == "done"
    assert read_resume(store, "u1")["summary"] == "newer"


def test_a_newer_upload_replaces_an_older_result(store: Store) -> None:
    bench = Bench(store)
    for text in ("older", "newer"):
        job = bench.admit(plan=UPLOAD_RESUME)
        _keep(bench, bench.run(job), job, text)
    assert read_resume(store, "u1")["summary"] == "newer"


@pytest.mark.parametrize("end", ["cancel", "takeover"])
def test_an_attempt_that_is_over_keeps_no_result(store: Store, end: str) -> None:
    """D5, D23."""
    bench = Bench(store)
    job = bench.admit(plan=UPLOAD_RESUME)
    attempt = bench.run(job)
    if end == "cancel":
        bench.cancel(job)
    else:
        bench.lapse(attempt)
        bench.run(job)
    assert _keep(bench, attempt, job, "late") == "superseded"
    assert "summary" not in read_resume(store, "u1")


def test_a_services_result_is_its_owners_only(store: Store) -> None:
    """D25."""
    bench = Bench(store)
    job = bench.admit(service_fields={"userId": "u1"})
    _keep(bench, bench.run(job), job, "match")
    assert (read_service(store, "u1", job.ref.service_id) or {})["match"] == "match"
    assert read_service(store, "u2", job.ref.service_id) is None
    assert [row["serviceId"] for row in list_services(store, "u1")] == [job.ref.service_id]
    assert list_services(store, "u2") == []


def _bring_to(bench: Bench, job: Job, stage: str) -> None:
    if stage == "published":
        bench.publish(job)
    if stage in {"running", "retrying", "next_step"}:
        attempt = bench.run(job)
        if stage == "retrying":
            bench.release(attempt)
        if stage == "next_step":
            bench.finish(attempt)


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_an_ended_tasks_record_keeps_no_users_text(store: Store, end: str) -> None:
    bench = Bench(store)
    job = bench.admit()
    assert "words" in repr(bench.dump())
    if end == "cancelled":
        bench.tasks.cancel(job.ref)
    else:
        attempt = bench.run(job)
        _ = bench.finish(attempt) if end == "done" else bench.tasks.fail(attempt, code="c", message="m")
    assert bench.record(job)["state"] == end
    assert "words" not in repr(bench.dump())
