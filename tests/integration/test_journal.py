"""One entry for each step that ended, whichever way, and a count of all that did not go the straight way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from shared.actions.rates import RequestRates
from shared.errors import RateLimited
from shared.routing import CREATE_SERVICE_IMAGE, UPLOAD_RESUME, Lane, Model, Tier
from shared.settings import RateLimits
from shared.state import keys
from shared.state.controls import Controller
from shared.state.erasure import erase_user
from shared.state.journal import StepEnd, ended_steps
from shared.state.lifecycle import Attempt, Finished
from shared.state.store import Store
from shared.state.tallies import MINUTES_KEPT, fold_tallies, read_tallies
from tests.integration.transitions_kit import Bench, Job

USED = {
    "promptTokens": 900,
    "completionTokens": 100,
    "totalTokens": 1000,
    "cachedTokens": 512,
    "cost": 0.0024,
    "currency": "CNY",
    "model": "deepseek-reasoner",
    "ttftMs": 321,
}
SOME = {"promptTokens": 90, "completionTokens": 10, "cachedTokens": 0, "cost": 0.000201, "currency": "CNY"}


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def finish(bench: Bench, attempt: Attempt, usage: Mapping[str, Any] | None = None) -> str:
    return bench.tasks.finish(attempt, Finished("{}", {"text": "secret answer"}, usage or USED))


def only_end(bench: Bench) -> StepEnd:
    (end,) = ended_steps(bench.store)
    return end


# -- what an entry says ------------------------------------------------------------------------------------------------


def test_a_step_that_is_done_leaves_all_that_is_known_of_it(bench: Bench) -> None:
    job = bench.admit("ada")
    before_ms = bench.now_ms()
    attempt = bench.run(job)
    finish(bench, attempt)
    end = only_end(bench)
    assert before_ms <= end.at_ms <= bench.now_ms()
    assert (end.task_id, end.user) == (job.ref.task_id, keys.user_hash("ada"))
    assert (end.tier, end.action, end.lane) == ("paid", "create-service", "paid_stream")
    assert (end.template, end.model, end.step) == ("job_match", "deepseek-reasoner", 0)
    assert (end.state, end.ended_task, end.code, end.attempts) == ("done", True, "", 1)
    assert (end.tokens_in, end.tokens_out, end.tokens_cached) == (900, 100, 512)
    assert (end.cost_micros, end.currency, end.ttft_ms, end.refunded_coins) == (2400, "CNY", 321, 0)
    record = bench.record(job)
    assert end.waited_ms == int(record["waitedMs"])
    assert end.run_ms == int(record["finishedAt"]) - int(record["startedAt"])
    assert end.latency_ms == int(record["finishedAt"]) - int(record["createdAt"])


def test_each_step_of_a_task_leaves_its_own_entry(bench: Bench) -> None:
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    finish(bench, bench.run(job))
    finish(bench, bench.run(job, step=1), SOME)
    last, first = ended_steps(bench.store)
    assert (first.step, first.state, first.ended_task, first.lane) == (0, "done", False, "paid_vision")
    assert (last.step, last.state, last.ended_task, last.lane) == (1, "done", True, "paid_stream")
    assert (first.tokens_in, last.tokens_in, last.ttft_ms) == (900, 90, None)


def _fails(bench: Bench, job: Job) -> None:
    bench.tasks.fail(bench.run(job), code="provider_refused", message="m", usage=SOME)


def _gives_up(bench: Bench, job: Job) -> None:
    for _ in range(bench.time.task_retries + 1):
        bench.release(bench.run(job))


def _is_cancelled_waiting(bench: Bench, job: Job) -> None:
    bench.cancel(job)


def _is_cancelled_running(bench: Bench, job: Job) -> None:
    bench.run(job)
    bench.cancel(job)


def _waits_too_long(bench: Bench, job: Job) -> None:
    bench.wait_long(job)
    bench.claim(job)


def _is_lost(bench: Bench, job: Job) -> None:
    bench.make_overdue(job)
    bench.sweep(job)


def _dies_each_time(bench: Bench, job: Job) -> None:
    for _ in range(bench.time.task_retries + 1):
        bench.lapse(bench.run(job))
    bench.claim(job)


def _is_refused_by_its_lane(bench: Bench, job: Job) -> None:
    bench.publish(job)
    bench.requeue(job, refused=True)


def _was_not_published(bench: Bench, job: Job) -> None:
    bench.fail_unpublished(job)


@pytest.mark.parametrize(
    ("come_to_its_end", "state", "code", "attempts"),
    [
        (_fails, "failed", "provider_refused", 1),
        (_gives_up, "failed", "provider_error", 4),
        (_is_cancelled_waiting, "cancelled", "", 0),
        (_is_cancelled_running, "cancelled", "", 1),
        (_waits_too_long, "failed", "wait_timeout", 0),
        (_is_lost, "failed", "lost", 0),
        (_dies_each_time, "failed", "attempts_exhausted", 4),
        (_is_refused_by_its_lane, "failed", "message_refused", 0),
        (_was_not_published, "failed", "publish_failed", 0),
    ],
)
def test_every_way_to_end_leaves_one_entry_with_what_was_refunded(
    bench: Bench, come_to_its_end: Callable[[Bench, Job], None], state: str, code: str, attempts: int
) -> None:
    job = bench.admit()
    come_to_its_end(bench, job)
    end = only_end(bench)
    assert (end.state, end.code, end.attempts, end.ended_task) == (state, code, attempts, True)
    assert end.refunded_coins == 2


def test_of_a_free_task_nothing_is_refunded(store: Store) -> None:
    bench = Bench(store, initial_quota=0)
    bench.cancel(bench.admit())
    assert (only_end(bench).tier, only_end(bench).refunded_coins) == ("free", 0)


def test_a_task_that_waited_says_how_long_and_that_it_did_not_run(bench: Bench) -> None:
    job = bench.admit()
    bench.store.command("HSET", keys.task(job.ref.task_id), "waitingSince", bench.now_ms() - 5000)
    bench.cancel(job)
    end = only_end(bench)
    assert 5000 <= end.waited_ms < 60_000
    assert (end.run_ms, end.ttft_ms, end.currency) == (0, None, "")


def test_an_attempt_that_died_has_waited_since_its_lease_and_its_run_is_not_known(bench: Bench) -> None:
    job = bench.admit()
    attempt = bench.run(job)
    bench.store.command("ZADD", keys.slots(attempt.model, attempt.tier), bench.now_ms() - 700, attempt.holder)
    bench.make_overdue(job)
    assert bench.sweep(job) == "lost"
    assert 700 <= only_end(bench).waited_ms < 60_000
    assert only_end(bench).run_ms == 0


# -- what was used -----------------------------------------------------------------------------------------------------


def test_what_attempts_used_that_failed_counts_with_their_step(bench: Bench) -> None:
    job = bench.admit()
    for usage in (SOME, SOME, None):
        bench.tasks.release(
            bench.run(job), code="provider_error", message="m", retry_after_seconds=1, usage=usage
        )
    finish(bench, bench.run(job))
    end = only_end(bench)
    assert (end.tokens_in, end.tokens_out, end.tokens_cached) == (1080, 120, 512)
    assert (end.cost_micros, end.attempts) == (2400 + 2 * 201, 4)


def test_what_a_step_used_does_not_count_with_the_next_one(bench: Bench) -> None:
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.tasks.release(bench.run(job), code="c", message="m", retry_after_seconds=1, usage=SOME)
    finish(bench, bench.run(job))
    bench.tasks.fail(bench.run(job, step=1), code="c", message="m", usage=SOME)
    last, first = ended_steps(bench.store)
    assert (first.tokens_in, last.tokens_in) == (990, 90)


def test_the_last_attempt_that_gave_up_is_counted_once(bench: Bench) -> None:
    job = bench.admit()
    for _ in range(bench.time.task_retries):
        bench.release(bench.run(job))
    last = bench.run(job)
    for _ in range(2):
        bench.tasks.release(last, code="c", message="m", retry_after_seconds=1, usage=SOME)
    assert only_end(bench).tokens_in == 90


def test_an_attempt_that_was_taken_over_leaves_nothing(bench: Bench) -> None:
    job = bench.admit()
    late = bench.run(job)
    bench.lapse(late)
    current = bench.run(job)
    assert finish(bench, late) == "superseded"
    assert list(ended_steps(bench.store)) == []
    finish(bench, current)
    assert only_end(bench).attempts == 2


# -- the stream ----------------------------------------------------------------------------------------------------------


def test_the_journal_holds_no_text_and_no_users_id(bench: Bench) -> None:
    finish(bench, bench.run(bench.admit("ada-lovelace", UPLOAD_RESUME)))
    stored = repr(bench.store.command("XRANGE", keys.JOURNAL, "-", "+"))
    assert "ada-lovelace" not in stored
    assert "words" not in stored
    assert "secret answer" not in stored


def test_no_users_id_stays_behind_a_deletion(bench: Bench) -> None:
    finish(bench, bench.run(bench.admit("ada-lovelace")))
    assert erase_user(bench.store, "ada-lovelace") is not None
    assert "ada-lovelace" not in json.dumps(bench.dump())


def test_ended_steps_come_newest_first_and_as_many_as_wanted(bench: Bench) -> None:
    jobs = [bench.admit() for _ in range(4)]
    for job in jobs:
        bench.cancel(job)
    newest_first = [job.ref.task_id for job in reversed(jobs)]
    assert [end.task_id for end in ended_steps(bench.store)] == newest_first
    assert [end.task_id for end in ended_steps(bench.store, at_most=2)] == newest_first[:2]
    assert list(ended_steps(bench.store, since_ms=bench.now_ms() + 1000)) == []


def test_more_ended_steps_than_a_page_are_all_told(bench: Bench) -> None:
    bench.cancel(bench.admit())
    ((_, fields),) = bench.store.command("XRANGE", keys.JOURNAL, "-", "+")
    bench.store.pipeline([("XADD", keys.JOURNAL, "*", *fields)] * 1100)
    assert sum(1 for _ in ended_steps(bench.store, at_most=10_000)) == 1101


def test_an_entry_that_no_transition_wrote_is_left_out(bench: Bench) -> None:
    bench.store.command("XADD", keys.JOURNAL, "*", "e", "[]")
    bench.store.command("XADD", keys.JOURNAL, "*", "e", '{"at":1}')
    bench.cancel(bench.admit())
    assert only_end(bench).state == "cancelled"


# -- the tallies -----------------------------------------------------------------------------------------------------------


def counted(store: Store) -> dict[tuple[str, str, str], int]:
    tallies = read_tallies(store)
    assert all(tally.last_hour == tally.total for tally in tallies)
    return {(tally.kind, tally.label, tally.lane): tally.total for tally in tallies}


def test_the_straight_way_counts_nothing(bench: Bench) -> None:
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.publish(job)
    finish(bench, bench.run(job))
    bench.publish(job, step=1)
    finish(bench, bench.run(job, step=1))
    assert counted(bench.store) == {}


def test_refused_admissions_are_counted_by_reason(store: Store) -> None:
    bench = Bench(store, {"QUEUE_MAX_SIZE": "1", "USER_MAX_ACTIVE": "1"})
    job = bench.admit("u1", idempotency_key="k")
    bench.ask("u1")
    bench.ask("u2")
    bench.ask("u1", idempotency_key="k")
    bench.ask("u1", idempotency_key="k", fingerprint="another")
    bench.fail_unpublished(job)
    Controller(store).drain(by="o", reason="r")
    bench.ask("u2")
    assert counted(store) == {
        ("refused", "user_busy", "paid_stream"): 1,
        ("refused", "queue_full", "paid_stream"): 1,
        ("refused", "mismatch", ""): 1,
        ("refused", "publish_failed", "paid_stream"): 1,
        ("refused", "draining", "paid_stream"): 1,
        ("replay", "key", ""): 1,
    }


def test_requests_over_a_users_rate_are_counted(store: Store) -> None:
    rates = RequestRates(store, RateLimits(reads="1/minute", writes="1/minute"))
    rates.count("u1", writes=True)
    for _ in range(2):
        with pytest.raises(RateLimited):
            rates.count("u1", writes=True)
    assert counted(store) == {("refused", "rate_limited", ""): 2}


def test_an_admission_that_was_sent_twice_is_no_replay(bench: Bench) -> None:
    job = bench.admit(idempotency_key="k")
    assert bench.ask(ref=job.ref, idempotency_key="k").status == "replay"
    assert counted(bench.store) == {}


def test_refused_claims_takeovers_and_retries_are_counted(store: Store) -> None:
    bench = Bench(store, {"DEEPSEEK_MAX_WORKERS": "1"})
    job, other = bench.admit(), bench.admit()
    attempt = bench.run(job)
    bench.claim(job)
    bench.claim(other)
    bench.lapse(attempt)
    bench.release(bench.run(job))
    Controller(store).stop(Lane.PAID_STREAM, by="o", reason="r")
    bench.claim(other)
    bench.cancel(other)
    bench.claim(other)
    bench.claim(Job(other.ref, Tier.FREE, other.steps))
    store.command("DEL", keys.task(other.ref.task_id))
    bench.claim(other)
    lane = "paid_stream"
    assert counted(store) == {
        ("claim_refused", "busy", lane): 1,
        ("claim_refused", "no_slot", lane): 1,
        ("claim_refused", "lane_stopped", lane): 1,
        ("claim_refused", "duplicate", lane): 1,
        ("claim_refused", "mismatch", lane): 1,
        ("claim_refused", "unknown", lane): 1,
        ("takeover", "again", lane): 1,
        ("retry", "provider_error", lane): 1,
    }


def test_requeues_and_sweeps_are_counted_by_what_came_of_them(bench: Bench) -> None:
    again, refused, lost, late = (bench.admit() for _ in range(4))
    for job in (again, refused, late):
        bench.publish(job)
    bench.requeue(again)
    bench.requeue(again)  # decided already
    bench.requeue(refused, "m2", refused=True)
    bench.make_overdue(lost)
    bench.sweep(lost)
    Controller(bench.store).stop(Lane.PAID_STREAM, by="o", reason="r")
    bench.make_overdue(late)
    bench.sweep(late)
    bench.make_overdue(again)
    bench.sweep(again)
    lane = "paid_stream"
    assert counted(bench.store) == {
        ("requeue", "publish", lane): 1,
        ("requeue", "failed", lane): 1,
        ("sweep", "lost", lane): 1,
        ("sweep", "wait_timeout", lane): 1,
        ("sweep", "publish", lane): 1,
    }


def test_minutes_older_than_an_hour_are_added_up_and_no_total_falls(store: Store) -> None:
    minute = Bench(store).now_ms() // 60_000
    fields = {
        f"retry|timeout|paid_batch|{minute}": 1,
        f"retry|timeout|paid_batch|{minute - MINUTES_KEPT + 2}": 2,
        f"retry|timeout|paid_batch|{minute - MINUTES_KEPT - 1}": 4,
        f"retry|timeout|paid_batch|{minute - 5000}": 8,
        "retry|timeout|paid_batch|": 16,
        f"replay|key||{minute - 5000}": 32,
    }
    store.command("HSET", keys.TALLIES, *(part for pair in fields.items() for part in pair))
    before = read_tallies(store)
    assert [(tally.total, tally.last_hour) for tally in before] == [(32, 0), (31, 3)]
    for _ in range(2):
        fold_tallies(store)
        assert read_tallies(store) == before
        assert store.command("HLEN", keys.TALLIES) == 4
    assert store.command("HGET", keys.TALLIES, "retry|timeout|paid_batch|") == "28"


def test_a_model_is_named_as_the_routing_table_does(bench: Bench) -> None:
    bench.cancel(bench.admit())
    assert Model(only_end(bench).model) is Model.DEEPSEEK_REASONER
