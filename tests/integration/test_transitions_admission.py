"""Admission: all of it or nothing, and no limit is ever passed."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.routing import (
    CREATE_SERVICE_IMAGE,
    CREATE_SERVICE_TEXT,
    CUSTOMIZE_RESUME,
    UPLOAD_RESUME,
    Action,
    Lane,
    Model,
    Plan,
    Template,
    Tier,
)
from shared.state import counters, keys
from shared.state.quota import read_quota
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, events_key, new_ref


def test_an_accepted_task_is_queued_with_a_place_a_debit_a_record_and_its_first_event(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit()
    assert bench.places(Lane.PAID_STREAM) == [f"{job.ref.task_id}:0"]
    assert bench.ledger() == [("grant", 8), ("debit", -2)]
    assert bench.record(job)["state"] == "queued"
    assert {
        key: bench.last(job)[key] for key in ("type", "queueId", "step", "position", "etaSeconds", "attempt")
    } == {
        "type": "queued",
        "queueId": "paid_stream",
        "step": 0,
        "position": 0,
        "etaSeconds": None,
        "attempt": 0,
    }
    assert store.command("SMEMBERS", keys.active("u1")) == [job.ref.task_id]


def test_the_record_decides_queue_and_model_once_for_producer_and_worker(store: Store) -> None:
    """D7, D8: a claim for any other queue, model or tier is refused, whatever the balance is by now."""
    bench = Bench(store, initial_quota=2)
    job = bench.admit()
    assert bench.balance() == 0
    assert [(s.lane, s.model) for s in job.steps] == [(Lane.PAID_STREAM, Model.DEEPSEEK_REASONER)]
    assert bench.run(job).tier is Tier.PAID


def test_the_image_branch_takes_a_place_in_both_of_its_queues(store: Store) -> None:
    """D3, D17."""
    bench = Bench(store)
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    assert bench.places(Lane.PAID_VISION) == [f"{job.ref.task_id}:0"]
    assert bench.places(Lane.PAID_STREAM) == [f"{job.ref.task_id}:1"]


@pytest.mark.parametrize("full", [Lane.PAID_VISION, Lane.PAID_STREAM])
def test_the_image_branch_takes_no_place_at_all_when_one_queue_is_full(store: Store, full: Lane) -> None:
    """D3: a partial acquire would leak; D6: and never be given back."""
    bench = Bench(store, {f"QUEUE_MAX_{full.upper()}": "1"})
    bench.admit(plan=CREATE_SERVICE_IMAGE)
    before = bench.dump()
    refused = bench.ask(plan=CREATE_SERVICE_IMAGE)
    assert (refused.status, refused.queue_id) == ("queue_full", full)
    assert bench.dump() == before


def test_a_plan_that_visits_one_lane_twice_needs_two_places_there(store: Store) -> None:
    """D3: counting one by one would admit it into the last place and pass the limit by one."""
    twice = Plan(Action.CUSTOMIZE_RESUME, 2, (Template.RESUME_SUMMARY, Template.RESUME_CUSTOMIZE))
    bench = Bench(store, {"QUEUE_MAX_PAID_BATCH": "3"})
    bench.admit(plan=twice)
    assert bench.ask(plan=twice).status == "queue_full"
    assert len(bench.places(Lane.PAID_BATCH)) == 2


def test_two_images_of_one_user_may_be_under_way_at_once(store: Store) -> None:
    """D4: the user's cap is the only limit per user."""
    bench = Bench(store, {"GLM_MAX_WORKERS": "2"})
    first, second = (bench.admit(plan=CREATE_SERVICE_IMAGE) for _ in range(2))
    assert {bench.claim(first).status, bench.claim(second).status} == {"claimed"}


@pytest.mark.parametrize("reason", ["queue_full", "user_busy", "mismatch", "overdue"])
def test_a_refusal_leaves_no_trace(store: Store, reason: str) -> None:
    """D19, D20, D22: no debit, no place, no record, no event and no idempotency key."""
    limits = {"queue_full": {"QUEUE_MAX_PAID_STREAM": "1"}, "user_busy": {"USER_MAX_ACTIVE": "1"}}
    bench = Bench(store, limits.get(reason, {}))
    job = bench.admit(idempotency_key="k" if reason == "mismatch" else None)
    if reason == "overdue":
        bench.make_overdue(job)
    before = bench.dump()
    answer = bench.ask(idempotency_key="k", fingerprint="another", service_fields={"userId": "u1"})
    assert answer.status == reason
    assert bench.dump() == before


def test_a_user_never_seen_who_is_refused_stays_unseen(store: Store) -> None:
    """D22: not even the first grant is written."""
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "1"})
    bench.admit("other")
    assert bench.ask("new").status == "queue_full"
    assert read_quota(store, "new", initial=8).balance == 8
    assert bench.ledger("new") == []


def test_retry_after_is_five_seconds_while_nothing_has_been_measured(store: Store) -> None:
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "1"})
    bench.admit()
    assert bench.ask().retry_after_seconds == 5


@pytest.mark.parametrize(("mean_ms", "seconds"), [("12000", 12), ("200", 1), ("9999999", 300)])
def test_retry_after_follows_the_measured_rate_between_one_and_300_seconds(
    store: Store, mean_ms: str, seconds: int
) -> None:
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "1"})
    bench.admit()
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:ms", mean_ms)
    assert bench.ask().retry_after_seconds == seconds


def test_the_drain_rate_is_measured_from_the_ends_of_steps(store: Store) -> None:
    bench = Bench(store)
    for _ in range(3):
        bench.finish(bench.run(bench.admit()))
    assert float(store.command("HGET", keys.QUEUE_RATES, "paid_stream:ms")) >= 0
    assert isinstance(bench.last(bench.admit())["etaSeconds"], int)


def test_position_is_the_number_of_tasks_ahead(store: Store) -> None:
    bench = Bench(store)
    jobs = [bench.admit(f"u{i}") for i in range(3)]
    positions = [(bench.tasks.read(job.ref.task_id) or {})["position"] for job in jobs]
    assert sorted(positions) == [0, 1, 2]


def test_places_older_than_any_task_can_be_make_room_again(store: Store) -> None:
    """D2: what was never given back does not block a queue for good."""
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "1"})
    store.command("ZADD", keys.queue(Lane.PAID_STREAM), 1, "forgotten:0")
    job = bench.admit()
    assert bench.last(job)["position"] == 0, "nobody is before it any more"


def test_two_hundred_concurrent_admissions_never_pass_a_queue_limit_by_one(store: Store) -> None:
    """D1, D3."""
    bench = Bench(store, {"QUEUE_MAX_PAID_STREAM": "17", "QUEUE_MAX_FREE_STREAM": "5"}, initial_quota=2)
    answers = _at_once(bench, users=50, requests=200)
    statuses = Counter(status for status, _ in answers)
    assert statuses == {"accepted": 22, "queue_full": 178}
    assert counters.depths(store)[Lane.PAID_STREAM] == 17
    assert counters.depths(store)[Lane.FREE_STREAM] == 5


def test_two_hundred_concurrent_admissions_never_pass_a_users_cap_nor_overdraw_a_quota(store: Store) -> None:
    """D1, D19: five coins buy two paid tasks, the third is free, a fourth is refused."""
    bench = Bench(store, {"USER_MAX_ACTIVE": "3"}, initial_quota=5)
    answers = _at_once(bench, users=4, requests=200)
    assert Counter(answers) == {
        ("accepted", Tier.PAID): 8,
        ("accepted", Tier.FREE): 4,
        ("user_busy", None): 188,
    }
    for user in range(4):
        assert store.command("SCARD", keys.active(f"u{user}")) == 3
        assert bench.balance(f"u{user}") == 1
        assert bench.ledger(f"u{user}") == [("grant", 5), ("debit", -2), ("debit", -2)]


def test_requests_with_one_idempotency_key_at_once_are_one_task(store: Store) -> None:
    """D21: the key is claimed in the script that debits, not read before it."""
    bench = Bench(store)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: bench.ask(idempotency_key="k"), range(48)))
    assert Counter(a.status for a in answers) == {"accepted": 1, "replay": 47}
    assert len({a.task_id for a in answers}) == 1
    assert bench.ledger() == [("grant", 8), ("debit", -2)]
    assert len(bench.places(Lane.PAID_STREAM)) == 1


def test_an_idempotency_key_belongs_to_one_user(store: Store) -> None:
    """D25."""
    bench = Bench(store)
    bench.admit("u1", idempotency_key="k")
    assert bench.ask("u2", idempotency_key="k").status == "accepted"


def test_an_idempotency_key_with_another_body_is_a_mismatch(store: Store) -> None:
    bench = Bench(store)
    bench.admit(idempotency_key="k")
    assert bench.ask(idempotency_key="k", fingerprint="another").status == "mismatch"


def test_a_refused_request_does_not_use_up_its_idempotency_key(store: Store) -> None:
    """D21."""
    bench = Bench(store, {"USER_MAX_ACTIVE": "1"})
    job = bench.admit()
    assert bench.ask(idempotency_key="k").status == "user_busy"
    bench.cancel(job)
    assert bench.ask(idempotency_key="k").status == "accepted"


def test_a_failed_publish_frees_its_idempotency_key(store: Store) -> None:
    """D21: the user's next try is a new task, not a replay of one that never ran."""
    bench = Bench(store)
    job = bench.admit(idempotency_key="k")
    assert bench.fail_unpublished(job, "k") == "failed"
    assert bench.ask(idempotency_key="k").status == "accepted"


def test_a_late_copy_of_a_failed_publish_does_not_free_the_key_of_the_next_task(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit(idempotency_key="k")
    bench.fail_unpublished(job, "k")
    bench.admit(idempotency_key="k")
    bench.fail_unpublished(job, "k")
    assert bench.ask(idempotency_key="k").status == "replay"


def test_an_idempotency_key_is_remembered_for_a_day(store: Store) -> None:
    Bench(store).admit(idempotency_key="k")
    assert 86_000_000 < store.command("PTTL", keys.idempotency("u1", "k")) <= 86_400_000


def test_an_admission_names_the_users_overdue_tasks_first_and_decides_once_they_were_touched(
    store: Store,
) -> None:
    """A killed producer's task does not keep its user out: it is ended by the user's next admission."""
    bench = Bench(store, {"USER_MAX_ACTIVE": "1"})
    stuck = bench.admit()
    bench.make_overdue(stuck)
    assert bench.ask().overdue == (stuck.ref.task_id,)
    assert bench.sweep(stuck) == "lost"
    assert bench.ask(touched=True).status == "accepted"


def test_an_overdue_task_that_is_alive_still_counts_once_it_was_touched(store: Store) -> None:
    bench = Bench(store, {"USER_MAX_ACTIVE": "1"})
    job = bench.admit()
    bench.run(job)
    bench.make_overdue(job)
    assert bench.sweep(job) == "alive"
    assert bench.ask(touched=True).status == "user_busy"


def test_a_task_that_the_index_does_not_know_takes_none_of_its_users_places(store: Store) -> None:
    """D2: what was left behind does not keep a user out for good."""
    bench = Bench(store, {"USER_MAX_ACTIVE": "1"})
    store.command("SADD", keys.active("u1"), "left-behind")
    job = bench.admit()
    assert store.command("SMEMBERS", keys.active("u1")) == [job.ref.task_id]


def test_stream_and_record_expire_though_nothing_more_happens_but_never_while_the_task_can_live(
    store: Store,
) -> None:
    """D33: a crashed task leaves nothing for ever, and an open task's fence is never forgotten."""
    bench = Bench(store)
    job = bench.admit()
    for key in (events_key(job), keys.task(job.ref.task_id)):
        assert store.command("PTTL", key) > 1000 * bench.time.place_max_age_seconds


def test_an_upload_touches_no_stored_resume_before_it_is_done(store: Store) -> None:
    """D23: neither the admission nor a failed publish replaces a good résumé."""
    bench = Bench(store)
    store.command("HSET", keys.resume("u1"), "summary", '{"good":1}', "summaryAt", 1)
    job = bench.admit(plan=UPLOAD_RESUME)
    bench.fail_unpublished(job)
    assert store.command("HMGET", keys.resume("u1"), "summary", "summaryAt") == ['{"good":1}', "1"]


def test_a_new_service_is_recorded_with_its_task(store: Store) -> None:
    bench = Bench(store)
    job = bench.admit(service_fields={"userId": "u1", "jobText": json.dumps("advertisement")})
    assert store.command("HGET", keys.service(job.ref.service_id), "userId") == "u1"
    assert store.command("ZRANGE", keys.services("u1"), 0, -1) == [job.ref.service_id]


def test_every_plan_fits_the_queues_it_visits(store: Store) -> None:
    """A queue of one place takes each plan once, on both tiers."""
    one = {f"QUEUE_MAX_{lane.upper()}": "1" for lane in Lane}
    bench = Bench(store, one, initial_quota=0)
    for plan in (CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, CUSTOMIZE_RESUME):
        bench.cancel(bench.admit(plan=plan))
    assert set(counters.depths(store).values()) == {0}


def _at_once(bench: Bench, *, users: int, requests: int) -> list[tuple[str, Tier | None]]:
    """Ask for many tasks of many users from 16 threads."""

    def ask(number: int) -> tuple[str, Tier | None]:
        user = f"u{number % users}"
        answer = bench.ask(user, ref=new_ref(user))
        return answer.status, answer.tier

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(ask, range(requests)))
