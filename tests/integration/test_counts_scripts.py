"""How many commands each transition runs inside Redis, by the path that it takes; from outside it is one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from devstack.upstash.server import UpstashStandIn
from shared.actions.rates import RequestRates
from shared.errors import RateLimited
from shared.routing import CREATE_SERVICE_IMAGE, CREATE_SERVICE_TEXT, CUSTOMIZE_RESUME, Plan
from shared.settings import RateLimits
from shared.state.erasure import erase_user
from shared.state.keys import TaskRef
from shared.state.lifecycle import Attempt
from shared.state.quota import grant
from shared.state.store import RestStore
from tests.counts_kit import hold, settle_clock
from tests.integration.transitions_kit import Bench, Job

Arranged = Callable[[], Any]
PAID_STREAM_SLOTS = 5
FIVE_TASKS_COINS = 10


class Counting:
    """Arranges what a path needs, then counts the one call that takes it."""

    def __init__(self, store: RestStore, upstash: UpstashStandIn) -> None:
        self._store = store
        self._meter = upstash.api.meter
        self.counted: dict[str, dict[str, int]] = {}

    def bench(self, **limits: str) -> Bench:
        """Return the transitions on an empty Redis."""
        self._store.command("FLUSHALL")
        return Bench(self._store, {"QUEUE_MAX_SIZE": "1000", **limits}, initial_quota=FIVE_TASKS_COINS)

    def count(self, script: str, path: str, call: Arranged, *, answer: Any = None, beside: int = 0) -> None:
        """Count what `call` runs inside its script; `beside` are commands that it sends without one."""
        settle_clock()
        self._meter.reset()
        answered = call()
        bill = self._meter.read()
        assert bill.sent.get("eval") == 1, f"{script}, {path}: {bill.sent}"
        assert sum(bill.sent.values()) == 1 + beside, f"{script}, {path}: {bill.sent}"
        assert answer is None or answered == answer, f"{script}, {path}: {answered}"
        self.counted.setdefault(script, {})[path] = bill.billed - 1 - beside


@pytest.fixture
def counting(rest_store: RestStore, upstash: UpstashStandIn) -> Counting:
    return Counting(rest_store, upstash)


def test_each_path_of_each_transition_is_one_call_that_runs_exactly_these_commands(
    counting: Counting,
) -> None:
    for count_paths in (_admissions, _publishes, _claims, _attempts, _ends, _looks, _requests):
        count_paths(counting)
    hold("scripts", counting.counted)


def _admissions(c: Counting) -> None:
    def admit(bench: Bench, plan: Plan = CREATE_SERVICE_TEXT, **changes: Any) -> Arranged:
        return lambda: bench.ask(plan=plan, **changes).status

    c.count("admit_task", "a user's first", admit(c.bench()), answer="accepted")
    bench = c.bench()
    bench.finish(bench.run(bench.admit()))
    fields: dict[str, Any] = {"service_fields": {"jobText": '"a job"'}}
    c.count("admit_task", "paid", admit(bench, **fields), answer="accepted")
    c.count("admit_task", "behind others", admit(bench, **fields), answer="accepted")
    c.count("admit_task", "two steps", admit(bench, CREATE_SERVICE_IMAGE, **fields), answer="accepted")
    c.count(
        "admit_task",
        "with an idempotency key",
        admit(bench, idempotency_key="k", **fields),
        answer="accepted",
    )
    c.count("admit_task", "free", admit(bench, **fields), answer="accepted")
    c.count("admit_task", "replay", admit(bench, idempotency_key="k"), answer="replay")
    c.count("admit_task", "mismatch", admit(bench, idempotency_key="k", fingerprint="g"), answer="mismatch")
    bench = c.bench(QUEUE_MAX_SIZE="1", USER_MAX_ACTIVE="2")
    bench.admit("u2")
    c.count("admit_task", "queue full", admit(bench), answer="queue_full")
    c.count("admit_task", "queue full, again", admit(bench), answer="queue_full")
    bench = c.bench(USER_MAX_ACTIVE="1")
    bench.admit()
    c.count("admit_task", "user busy", admit(bench), answer="user_busy")
    c.count("admit_task", "one at a time", admit(bench, CUSTOMIZE_RESUME), answer="user_busy")


def _publishes(c: Counting) -> None:
    bench = c.bench()
    job = bench.admit()
    c.count("begin_publish", "a number", lambda: bench.tasks.begin_publish(job.ref, 0), answer=1)
    c.count("confirm_publish", "confirmed", lambda: bench.tasks.confirm_publish(job.ref, 0, 1))
    c.count("begin_publish", "published", lambda: bench.tasks.begin_publish(job.ref, 0), answer=0)
    c.count("requeue_task", "publish", lambda: bench.requeue(job, "m1").status, answer="publish")
    bench.tasks.confirm_publish(job.ref, 0, 2)
    c.count("requeue_task", "published", lambda: bench.requeue(job, "m1").status, answer="published")
    bench.cancel(job)
    c.count("requeue_task", "ended", lambda: bench.requeue(job, "m2").status, answer="ended")


def _claims(c: Counting) -> None:
    def claim(bench: Bench, job: Job, nonce: str | None = None) -> Arranged:
        return lambda: bench.claim(job, nonce=nonce).status

    bench = c.bench()
    job = bench.admit()
    bench.publish(job)
    c.count("claim_task", "claimed", claim(bench, job, "n"), answer="claimed")
    c.count("claim_task", "claimed, sent twice", claim(bench, job, "n"), answer="claimed")
    c.count("claim_task", "busy", claim(bench, job), answer="busy")
    _let_lapse(bench, job)
    c.count("claim_task", "taken over", claim(bench, job), answer="claimed")
    for _ in range(PAID_STREAM_SLOTS - 1):
        bench.run(bench.admit("u2"))
    waiting = bench.admit("u3")
    bench.publish(waiting)
    c.count("claim_task", "no slot", claim(bench, waiting), answer="no_slot")
    bench.wait_long(waiting)
    c.count("claim_task", "waited too long", claim(bench, waiting), answer="wait_timeout")
    c.count("claim_task", "duplicate", claim(bench, waiting), answer="duplicate")
    stranger = Job(TaskRef("t0", "s0", "u0"), job.tier, job.steps)
    c.count("claim_task", "unknown", claim(bench, stranger), answer="unknown")


def _attempts(c: Counting) -> None:
    bench = c.bench()
    attempt = bench.run(bench.admit())
    c.count("renew_lease", "renewed", lambda: bench.tasks.renew(attempt), answer=True)
    c.count("release_attempt", "released", lambda: bench.release(attempt), answer="released")
    c.count("release_attempt", "released, sent twice", lambda: bench.release(attempt), answer="released")
    c.count("renew_lease", "lost", lambda: bench.tasks.renew(attempt), answer=False)
    job = bench.admit()
    for _ in range(bench.time.task_retries):
        bench.release(bench.run(job))
    last = bench.run(job)
    c.count("release_attempt", "exhausted", lambda: bench.release(last), answer="exhausted")


def _ends(c: Counting) -> None:
    bench = c.bench()
    attempt = bench.run(bench.admit())
    c.count("finish_task", "done", lambda: bench.finish(attempt), answer="done")
    c.count("finish_task", "done, sent twice", lambda: bench.finish(attempt), answer="done")
    kept: Mapping[str, Any] = {"keep_key": "service:s", "keep_field": "match", "keep": {"match": "{}"}}
    keeping = bench.run(bench.admit())
    c.count("finish_task", "done, its result kept", lambda: bench.finish(keeping, **kept), answer="done")
    first = bench.run(bench.admit(plan=CREATE_SERVICE_IMAGE))
    c.count("finish_task", "step done", lambda: bench.finish(first), answer="step_done")
    failing, job = bench.run(bench.admit("u2")), bench.admit("u2")
    c.count("fail_task", "a paid task", lambda: bench.fail(failing), answer="failed")
    running = bench.run(job)
    c.count("cancel_task", "a paid task", lambda: bench.cancel(job), answer="cancelled")
    c.count("cancel_task", "again", lambda: bench.cancel(job), answer="cancelled")
    c.count("finish_task", "superseded", lambda: bench.finish(running), answer="superseded")
    unpublished = bench.admit("u2")
    c.count("fail_task", "unpublished", lambda: bench.fail_unpublished(unpublished), answer="failed")


def _looks(c: Counting) -> None:
    bench = c.bench()
    job = bench.admit()
    c.count("read_task", "queued", lambda: bench.tasks.read(job.ref.task_id))
    c.count("sweep_task", "not due", lambda: bench.sweep(job), answer="not_due", beside=1)
    attempt = bench.run(job)
    c.count("read_task", "running", lambda: bench.tasks.read(job.ref.task_id))
    bench.make_overdue(job)
    c.count("list_overdue", "one", bench.tasks.overdue, answer=[job.ref.task_id])
    c.count("sweep_task", "alive", lambda: bench.sweep(job), answer="alive", beside=1)
    bench.lapse(attempt)
    bench.make_overdue(job)
    c.count("sweep_task", "lost", lambda: bench.sweep(job), answer="lost", beside=1)
    c.count("sweep_task", "gone", lambda: bench.sweep(job), answer="gone", beside=1)
    c.count("read_task", "ended", lambda: bench.tasks.read(job.ref.task_id))
    c.count("forget_user", "one task", lambda: erase_user(bench.store, "u1"), beside=2)
    c.count("grant_quota", "granted", lambda: grant(bench.store, "u1", 5, reference="r", initial=8))


def _requests(c: Counting) -> None:
    bench = c.bench()
    rates = RequestRates(bench.store, RateLimits(reads="2/minute", writes="2/minute"))
    c.count("count_request", "a window's first", lambda: rates.count("u1", writes=True))
    c.count("count_request", "another", lambda: rates.count("u1", writes=True))

    def refused() -> None:
        with pytest.raises(RateLimited):
            rates.count("u1", writes=True)

    c.count("count_request", "refused", refused)


def _let_lapse(bench: Bench, job: Job) -> None:
    model, tier = job.steps[0].model, job.tier
    (holder,) = bench.holders(model, tier)
    epoch = holder.rpartition(":")[2]
    bench.lapse(Attempt(job.ref, 0, 1, epoch, holder, model, tier, job.steps[0].lane, "en", 0, {}))
