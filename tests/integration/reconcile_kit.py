"""What the tests of reconciling share: tasks in every state there is, and every way to make something differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from shared.routing import CREATE_SERVICE_IMAGE, Lane, Model, Tier
from shared.state import keys
from shared.state.reconciliation import Report, reconcile
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


# -- what differs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """How something comes to differ, what is said of it, and whether it can be repaired."""

    harm: Callable[[Bench], Job]
    kind: str
    says: str
    repairable: bool = True


def place_of_ended(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("ZADD", QUEUE, bench.now_ms(), f"{job.ref.task_id}:0")
    return job


def place_of_nobody(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZADD", QUEUE, bench.now_ms(), "nobody:0")
    return job


def place_of_step_over(bench: Bench) -> Job:
    job = at_second_step(bench)
    bench.store.command("ZADD", keys.queue(Lane.PAID_VISION), bench.now_ms(), f"{job.ref.task_id}:0")
    return job


def place_in_other_queue(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZADD", keys.queue(Lane.FREE_BATCH), bench.now_ms(), f"{job.ref.task_id}:0")
    return job


def no_place(bench: Bench) -> Job:
    job = running(bench)
    bench.store.command("ZREM", QUEUE, f"{job.ref.task_id}:0")
    return job


def no_place_for_later_step(bench: Bench) -> Job:
    job = bench.admit("u1", CREATE_SERVICE_IMAGE)
    bench.store.command("ZREM", QUEUE, f"{job.ref.task_id}:1")
    return job


def not_listed_as_open(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZREM", keys.OPEN_TASKS, job.ref.task_id)
    return job


def listed_as_open_though_ended(bench: Bench) -> Job:
    job = cancelled(bench)
    bench.store.command("ZADD", keys.OPEN_TASKS, bench.now_ms() + 60_000, job.ref.task_id)
    return job


def listed_as_open_without_record(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("ZADD", keys.OPEN_TASKS, bench.now_ms() + 60_000, "nobody")
    return job


def not_its_users(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("SREM", keys.active("u1"), job.ref.task_id)
    return job


def its_users_though_ended(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("SADD", keys.active("u1"), job.ref.task_id)
    return job


def another_users(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("SADD", keys.active("u1:active"), job.ref.task_id)
    return job


def slot_for_ever(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("ZADD", SLOTS, bench.now_ms() + 3_600_000, f"{job.ref.task_id}:0:1")
    return job


def own_slot_for_ever(bench: Bench) -> Job:
    job = running(bench)
    bench.store.command("ZADD", SLOTS, bench.now_ms() + 3_600_000, bench.record(job)["holder"])
    return job


def too_many_slots(bench: Bench) -> Job:
    job = running(bench)
    for number in range(bench.limits.slots(Model.DEEPSEEK_REASONER, Tier.PAID)):
        bench.store.command("ZADD", SLOTS, bench.now_ms() + 20_000, f"{job.ref.task_id}:0:{number}")
    return job


def pay(bench: Bench, job: Job, kind: str, coins: int, user: str = "u1") -> None:
    """Pay coins as a script would that does it once too often."""
    balance = bench.store.command("HINCRBY", keys.quota(user), "balance", coins)
    line = {"at": bench.now_ms(), "kind": kind, "delta": coins, "balance": balance, "taskId": job.ref.task_id}
    bench.store.command("RPUSH", keys.ledger(user), json.dumps(line))


def refunded_twice(bench: Bench) -> Job:
    job = cancelled(bench)
    pay(bench, job, "refund", 2)
    return job


def refunded_though_done(bench: Bench) -> Job:
    job = done(bench)
    pay(bench, job, "refund", 2)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "1")
    return job


def refunded_though_open(bench: Bench) -> Job:
    job = queued(bench)
    pay(bench, job, "refund", 2)
    return job


def refunded_twice_and_spent(bench: Bench) -> Job:
    job = refunded_twice(bench)
    for _ in range(5):
        done(bench)
    return job


def refunded_twice_long_ago(bench: Bench) -> Job:
    job = refunded_twice(bench)
    bench.store.command("DEL", keys.task(job.ref.task_id))
    return job


def refunded_what_free_was(bench: Bench) -> Job:
    job = free(bench)
    bench.cancel(job)
    pay(bench, job, "refund", 2, "poor")
    return job


def not_refunded(bench: Bench) -> Job:
    job = failed(bench)
    bench.store.command("HINCRBY", keys.quota("u1"), "balance", -2)
    bench.store.command("RPOP", keys.ledger("u1"))
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "0")
    return job


def not_refunded_though_it_says_so(bench: Bench) -> Job:
    job = not_refunded(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "1")
    return job


def refunded_and_does_not_say_so(bench: Bench) -> Job:
    job = cancelled(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "0")
    return job


def refund_of_nothing(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "refunded", "1")
    return job


def not_debited(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("HINCRBY", keys.quota("u1"), "balance", 2)
    bench.store.command("RPOP", keys.ledger("u1"))
    return job


def debited_twice(bench: Bench) -> Job:
    job = done(bench)
    pay(bench, job, "debit", -2)
    return job


def debited_too_much(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "cost", "1")
    return job


def balance_off(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HINCRBY", keys.quota("u1"), "balance", 3)
    return job


def balance_gone(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HDEL", keys.quota("u1"), "balance")
    return job


def running_balance_off(bench: Bench) -> Job:
    job = done(bench)
    line = json.loads(bench.store.command("LINDEX", keys.ledger("u1"), 0))
    bench.store.command("LSET", keys.ledger("u1"), 0, json.dumps(line | {"balance": 9}))
    return job


def no_line(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("RPUSH", keys.ledger("u1"), "not a line")
    return job


def no_ledger(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("DEL", keys.ledger("u1"), keys.task(job.ref.task_id))
    return job


def overdue(bench: Bench) -> Job:
    job = queued(bench)
    bench.make_overdue(job)
    return job


def overdue_second_step(bench: Bench) -> Job:
    job = bench.admit("u1", CREATE_SERVICE_IMAGE)
    bench.publish(job)
    bench.finish(bench.run(job))
    bench.make_overdue(job)
    return job


def overdue_running(bench: Bench) -> Job:
    job = running(bench)
    bench.make_overdue(job)
    return job


def no_events(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("DEL", events_key(job))
    return job


def no_sense(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "state", "asleep")
    return job


def no_queue(bench: Bench) -> Job:
    job = done(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "steps", '[{"queueId":"gone","maxWaitMs":1}]')
    return job


def runs_for_nobody(bench: Bench) -> Job:
    job = queued(bench)
    bench.store.command("HSET", keys.task(job.ref.task_id), "state", "running")
    return job


CASES = [
    Case(place_of_ended, "place", "has a place, but is done"),
    Case(place_of_nobody, "place", "has a place, but has no record"),
    Case(place_of_step_over, "place", "is past that step"),
    Case(place_in_other_queue, "place", "has no such step in this queue"),
    Case(no_place, "place", f"has no place in {QUEUE} for its step 0"),
    Case(no_place_for_later_step, "place", f"has no place in {QUEUE} for its step 1"),
    Case(not_listed_as_open, "open", "is open, but not in the list"),
    Case(listed_as_open_though_ended, "open", "is listed as open, but is cancelled"),
    Case(listed_as_open_without_record, "open", "is listed as open, but has no record"),
    Case(not_its_users, "active", "not among the open tasks of its user"),
    Case(its_users_though_ended, "active", "is listed as its user's, but is done"),
    Case(another_users, "active", "belongs to another user"),
    Case(slot_for_ever, "slot", "for longer than a lease"),
    Case(own_slot_for_ever, "slot", "for longer than a lease"),
    Case(too_many_slots, "slot", "hold a slot, of 5 that there are", repairable=False),
    Case(refunded_twice, "refund", "is cancelled, and was refunded 4 instead of 2"),
    Case(refunded_though_done, "refund", "is done, and was refunded 2 instead of 0"),
    Case(refunded_though_open, "refund", "is queued, and was refunded 2 instead of 0"),
    Case(refunded_twice_and_spent, "refund", "was refunded 4 instead of 2", repairable=False),
    Case(refunded_twice_long_ago, "refund", "was refunded 2 more than it was debited"),
    Case(refunded_what_free_was, "refund", "is cancelled, and was refunded 2 instead of 0"),
    Case(not_refunded, "refund", "is failed, and was refunded 0 instead of 2"),
    Case(not_refunded_though_it_says_so, "refund", "is failed, and was refunded 0 instead of 2"),
    Case(refunded_and_does_not_say_so, "refund", "was refunded 2, which its record does not say"),
    Case(refund_of_nothing, "refund", "was refunded 0, which its record does not say"),
    Case(not_debited, "debit", "cost 2, but was debited 0 in 0 lines", repairable=False),
    Case(debited_twice, "debit", "cost 2, but was debited 4 in 2 lines", repairable=False),
    Case(debited_too_much, "debit", "cost 1, but was debited 2 in 1 lines", repairable=False),
    Case(balance_off, "balance", "is 9, and its ledger adds up to 6"),
    Case(balance_gone, "balance", "is not there, and its ledger adds up to 6"),
    Case(running_balance_off, "ledger", "1 lines whose balance is not that of the lines up to it"),
    Case(no_line, "ledger", "holds a line that is none", repairable=False),
    Case(no_ledger, "balance", "is 6, and its ledger adds up to 0", repairable=False),
    Case(overdue, "overdue", "has been overdue for more than two sweeps"),
    Case(overdue_second_step, "overdue", "has been overdue for more than two sweeps"),
    Case(overdue_running, "overdue", "has been overdue for more than two sweeps"),
    Case(no_events, "stream", "its events are gone", repairable=False),
    Case(no_sense, "record", "makes no sense", repairable=False),
    Case(no_queue, "record", "makes no sense", repairable=False),
    Case(runs_for_nobody, "record", "makes no sense", repairable=False),
]
