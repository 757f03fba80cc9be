"""Publishing a step, and what follows a message that QStash gave up on."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, Lane
from shared.state import keys
from shared.state.store import Store
from tests.integration.transitions_kit import Bench


def test_a_step_has_one_number_until_it_is_confirmed_and_none_after(store: Store) -> None:
    """D17: a callback that comes twice publishes under one deduplication id, or not at all."""
    bench = Bench(store)
    job = bench.admit()
    assert [bench.tasks.begin_publish(job.ref, 0) for _ in range(3)] == [1, 1, 1]
    bench.tasks.confirm_publish(job.ref, 0, 1)
    assert bench.tasks.begin_publish(job.ref, 0) == 0


def test_the_next_step_is_published_once_however_often_its_callback_comes(store: Store) -> None:
    """D17."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.publish(job)
    assert bench.tasks.begin_publish(job.ref, 1) == 0
    bench.finish(bench.run(job))
    assert [bench.publish(job, 1), bench.publish(job, 1)] == [1, 0]


@pytest.mark.parametrize("stage", ["running", "ended", "unknown"])
def test_there_is_nothing_to_publish_for_a_task_that_does_not_wait(store: Store, stage: str) -> None:
    bench = Bench(store)
    job = bench.admit()
    if stage == "running":
        bench.run(job)
    else:
        bench.cancel(job)
    if stage == "unknown":
        store.command("FLUSHALL")
    assert bench.tasks.begin_publish(job.ref, 0) == 0


def test_a_confirmed_publish_gives_the_task_its_whole_waiting_budget(store: Store) -> None:
    """D12: it is not overdue as long as a message is on its way."""
    bench = Bench(store)
    job = bench.admit()
    created_ms = float(bench.record(job)["createdAt"])
    assert bench.deadline_ms(job) == created_ms + 30_000
    bench.publish(job)
    assert bench.deadline_ms(job) == created_ms + 480_000 + 30_000


def test_a_late_confirmation_changes_no_deadline_of_a_running_attempt(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.run(job)
    before = bench.deadline_ms(job)
    bench.tasks.confirm_publish(job.ref, 0, 1)
    assert bench.deadline_ms(job) == before
    assert bench.record(job)["published"] == "1"


@pytest.mark.parametrize("late", ["ended", "next_step", "requeued", "unknown"])
def test_a_confirmation_that_comes_too_late_changes_nothing(store: Store, late: str) -> None:
    """Else a step whose message was never published would look as if it had been."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE if late == "next_step" else CREATE_SERVICE_TEXT)
    if late == "next_step":
        bench.finish(bench.run(job))
        bench.tasks.begin_publish(job.ref, 1)
    elif late == "requeued":
        bench.requeue(job)
    else:
        bench.cancel(job)
    if late == "unknown":
        store.command("FLUSHALL")
    before = bench.dump()
    bench.tasks.confirm_publish(job.ref, 0, 1)
    assert bench.dump() == before


def test_a_message_that_was_given_up_on_leads_to_a_new_one_with_its_own_number(store: Store) -> None:
    """D12, D20: its deduplication id must not fall into the window of the one before."""
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    answer = bench.requeue(job)
    assert (answer.status, answer.n, answer.delay_seconds) == ("publish", 2, 1)


def test_a_requeue_is_decided_once_for_each_message(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    assert [bench.requeue(job).n, bench.requeue(job).n] == [2, 2]
    bench.tasks.confirm_publish(job.ref, 0, 2)
    assert bench.requeue(job).status == "published"
    assert bench.record(job)["n"] == "2"


def test_concurrent_failure_callbacks_of_one_message_lead_to_one_new_message(store: Store) -> None:
    """D12, D16."""
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: bench.requeue(job), range(32)))
    assert Counter((a.status, a.n) for a in answers) == {("publish", 2): 32}


def test_the_delay_of_a_requeue_grows_from_one_second_to_a_minute(store: Store) -> None:
    """D37."""
    bench = Bench(store)
    job = bench.admit()
    delays = []
    for number in range(8):
        answer = bench.requeue(job, f"m{number}")
        bench.tasks.confirm_publish(job.ref, 0, answer.n)
        delays.append(answer.delay_seconds)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_requeue_waits_at_least_the_lease_while_an_attempt_lives(store: Store) -> None:
    """D12, D16: its message would only be refused."""
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    answer = bench.requeue(job)
    assert (answer.status, answer.delay_seconds) == ("publish", 30)
    assert bench.finish(attempt) == "done"


def test_a_requeue_of_a_lapsed_attempt_does_not_wait_for_it(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.lapse(bench.run(job))
    assert (bench.requeue(job).status, bench.claim(job).status) == ("publish", "claimed")


def test_a_requeue_does_not_take_the_time_that_a_lapsed_attempt_ran_for_waiting(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    bench.wait_long(job)
    bench.lapse(attempt)
    assert bench.requeue(job).status == "publish"


def test_a_requeue_uses_up_no_attempt(store: Store) -> None:
    """D12, D14: QStash's deliveries are not the task's attempts."""
    bench = Bench(store, task_retries=0)
    job = bench.admit()
    for number in range(5):
        assert bench.requeue(job, f"m{number}").status == "publish"
    assert bench.run(job).number == 1


@pytest.mark.parametrize("end", ["cancel", "finish", "fail"])
def test_a_message_of_an_ended_task_is_not_requeued(store: Store, end: str) -> None:
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    _ = bench.cancel(job) if end == "cancel" else getattr(bench, end)(attempt)
    before = bench.dump()
    assert bench.requeue(job).status == "ended"
    assert bench.dump() == before


def test_a_message_of_an_earlier_step_is_not_requeued(store: Store) -> None:
    """D17."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    assert bench.requeue(job, step=0).status == "ended"


def test_a_message_that_its_lane_can_never_accept_ends_the_task_refunded(store: Store) -> None:
    """D6, D28: nothing is requeued for ever."""
    bench = Bench(store)
    job = bench.admit()
    assert bench.requeue(job, refused=True).status == "failed"
    assert (bench.last(job)["code"], bench.last(job)["refunded"]) == ("message_refused", True)
    assert bench.places(Lane.PAID_STREAM) == []


def test_a_refused_duplicate_does_not_end_a_task_whose_attempt_lives(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    attempt = bench.run(job)
    assert bench.requeue(job, refused=True).status == "publish"
    assert bench.finish(attempt) == "done"


def test_a_message_whose_task_has_no_attempts_left_ends_it_refunded(store: Store) -> None:
    """D14."""
    bench = Bench(store, task_retries=0)
    job = bench.admit()
    bench.lapse(bench.run(job))
    assert bench.requeue(job).status == "failed"
    assert (bench.last(job)["code"], bench.balance()) == ("attempts_exhausted", 8)


def test_a_message_whose_task_has_waited_long_enough_ends_it_refunded(store: Store) -> None:
    """D12: refused by a full slot for as long as it may be, and then said so."""
    bench = Bench(store)
    job = bench.admit()
    bench.wait_long(job)
    assert bench.requeue(job).status == "failed"
    assert (bench.last(job)["code"], bench.balance()) == ("wait_timeout", 8)


def test_a_requeue_whose_publisher_dies_is_due_again_soon(store: Store) -> None:
    """Its callback was killed before it could publish: the next touch publishes the same number."""
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    now_ms = bench.now_ms()
    bench.requeue(job)
    assert now_ms + 31_000 <= bench.deadline_ms(job) < now_ms + 60_000
    bench.make_overdue(job)
    assert bench.sweep(job) == "publish"
    assert bench.tasks.begin_publish(job.ref, 0) == 2


def test_a_publish_that_failed_ends_the_task_and_gives_everything_back(store: Store) -> None:
    """D6, D20."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    assert bench.fail_unpublished(job) == "failed"
    assert (bench.last(job)["code"], bench.last(job)["refunded"]) == ("publish_failed", True)
    assert bench.balance() == 8
    assert bench.places(Lane.PAID_VISION) == bench.places(Lane.PAID_STREAM) == []


def test_a_message_that_arrives_after_its_publish_failed_finds_an_ended_task(store: Store) -> None:
    """D15, D16, D20: refunded and run is impossible."""
    bench = Bench(store)
    job = bench.admit()
    bench.fail_unpublished(job)
    assert bench.claim(job).status == "duplicate"


def test_a_publish_that_failed_ends_no_task_that_another_request_has_published(store: Store) -> None:
    """D21: two requests under one idempotency key were at it, and one of them got through."""
    bench = Bench(store)
    job = bench.admit(idempotency_key="k")
    bench.publish(job)
    assert bench.fail_unpublished(job, "k") == "queued"
    assert bench.fail(bench.run(job)) == "failed"


def test_a_publish_that_failed_has_nothing_to_end_without_a_record(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    store.command("FLUSHALL")
    assert bench.fail_unpublished(job) == "unknown"
    assert store.command("DBSIZE") == 0


def test_a_publish_that_failed_says_so_when_its_task_is_done_already(store: Store) -> None:
    """Its outcome was unknown, and the message had got through after all."""
    bench = Bench(store)
    job = bench.admit()
    bench.finish(bench.run(job))
    assert bench.fail_unpublished(job) == "done"
    assert bench.balance() == 6


def test_a_publish_that_failed_never_ends_a_task_that_another_request_has_published(store: Store) -> None:
    """D21: the first request and its repetition publish at once; one of them failing is nobody's loss."""
    bench = Bench(store)
    job = bench.admit()
    bench.publish(job)
    state = bench.tasks.fail_unpublished(job.ref, code="publish_failed", message="", idempotency_key=None)
    assert state == "queued"
    assert bench.record(job)["state"] == "queued"


@pytest.mark.parametrize("waiting", [0.4, 10, 25, 480])
def test_a_step_without_a_message_is_overdue_while_it_can_still_be_published(
    store: Store, waiting: float
) -> None:
    """D17: a callback that never came costs a moment, not the task, however short its waiting budget is."""
    bench = Bench(store, max_wait_seconds_stream=waiting, max_wait_seconds_batch=waiting)
    job = bench.admit()
    assert bench.deadline_ms(job) - bench.now_ms() <= waiting * 1000 / 2


def test_d12_the_delay_of_a_requeue_is_no_longer_than_the_queue_needs(store: Store) -> None:
    """D12, D37: once the drain rate is known, who is first does not wait for a back-off that has grown."""
    bench = Bench(store)
    first = bench.admit()
    bench.publish(first)
    for number in range(4):
        bench.requeue(first, f"unmeasured-{number}")
        bench.publish(first)
    assert bench.requeue(first, "slow").delay_seconds == 16
    bench.publish(first)
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", 3000)
    assert bench.requeue(first, "measured").delay_seconds == 3
