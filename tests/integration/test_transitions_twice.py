"""Everything that is sent to Redis may be sent twice: the second time has no effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared.routing import CREATE_SERVICE_IMAGE
from shared.state.lifecycle import Admitted, Claim, Requeue
from shared.state.scripts import LUA_FOLDER
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, Job, new_ref


@dataclass(frozen=True)
class Twice:
    """A transition on a task brought to where it applies, and what it answers the first and the second time."""

    script: str
    prepare: Callable[[Bench], Callable[[], Any]]
    first: str
    second: str


def _admit(bench: Bench) -> Callable[[], Admitted]:
    ref = new_ref()
    return lambda: bench.ask(ref=ref, service_fields={"userId": "u1"})


def _admit_with_key(bench: Bench) -> Callable[[], Admitted]:
    ref = new_ref()
    return lambda: bench.ask(ref=ref, idempotency_key="k")


def _claim(bench: Bench) -> Callable[[], Claim]:
    job = bench.admit()
    return lambda: bench.claim(job, nonce="x")


def _takeover(bench: Bench) -> Callable[[], Claim]:
    job = bench.admit()
    bench.lapse(bench.run(job))
    return lambda: bench.claim(job, nonce="x")


def _of_attempt(verb: str, **changes: Any) -> Callable[[Bench], Callable[[], Any]]:
    def prepare(bench: Bench) -> Callable[[], Any]:
        attempt = bench.run(bench.admit(**changes))
        return lambda: getattr(bench, verb)(attempt)

    return prepare


def _renew(bench: Bench) -> Callable[[], bool]:
    attempt = bench.run(bench.admit())
    return lambda: bench.tasks.renew(attempt)


def _last_release(bench: Bench) -> Callable[[], str]:
    job = bench.admit()
    for _ in range(bench.time.task_retries):
        bench.release(bench.run(job))
    attempt = bench.run(job)
    return lambda: bench.release(attempt)


def _of_job(act: Callable[[Bench, Job], Any]) -> Callable[[Bench], Callable[[], Any]]:
    def prepare(bench: Bench) -> Callable[[], Any]:
        job = bench.admit(idempotency_key="k")
        return lambda: act(bench, job)

    return prepare


def _requeue_published(bench: Bench) -> Callable[[], Requeue]:
    job = bench.admit()
    bench.requeue(job)
    bench.tasks.confirm_publish(job.ref, 0, 2)
    return lambda: bench.requeue(job)


def _sweep_lost(bench: Bench) -> Callable[[], str]:
    job = bench.admit()
    bench.make_overdue(job)
    return lambda: bench.sweep(job)


def _sweep_publish(bench: Bench) -> Callable[[], str]:
    job = bench.admit(plan=CREATE_SERVICE_IMAGE)
    bench.finish(bench.run(job))
    bench.make_overdue(job)
    return lambda: bench.sweep(job, 1)


def _sweep_alive(bench: Bench) -> Callable[[], str]:
    job = bench.admit()
    bench.run(job)
    bench.make_overdue(job)
    return lambda: bench.sweep(job)


IMAGE = {"plan": CREATE_SERVICE_IMAGE}
CASES = [
    Twice("admit_task", _admit, "accepted", "replay"),
    Twice("admit_task", _admit_with_key, "accepted", "replay"),
    Twice("begin_publish", _of_job(lambda b, job: b.tasks.begin_publish(job.ref, 0)), "1", "1"),
    Twice("confirm_publish", _of_job(lambda b, job: b.tasks.confirm_publish(job.ref, 0, 1)), "None", "None"),
    Twice("claim_task", _claim, "claimed", "claimed"),
    Twice("claim_task", _takeover, "claimed", "claimed"),
    Twice("renew_lease", _renew, "True", "True"),
    Twice("finish_task", _of_attempt("finish"), "done", "done"),
    Twice("finish_task", _of_attempt("finish", **IMAGE), "step_done", "step_done"),
    Twice("release_attempt", _of_attempt("release"), "released", "released"),
    Twice("release_attempt", _last_release, "exhausted", "exhausted"),
    Twice("fail_task", _of_attempt("fail"), "failed", "failed"),
    Twice("fail_task", _of_job(lambda b, job: b.fail_unpublished(job, "k")), "failed", "failed"),
    Twice("cancel_task", _of_job(lambda b, job: b.cancel(job)), "cancelled", "cancelled"),
    Twice("requeue_task", _of_job(lambda b, job: b.requeue(job)), "publish", "publish"),
    Twice("requeue_task", _requeue_published, "published", "published"),
    Twice("requeue_task", _of_job(lambda b, job: b.requeue(job, refused=True)), "failed", "ended"),
    Twice("sweep_task", _sweep_lost, "lost", "gone"),
    Twice("sweep_task", _sweep_publish, "publish", "not_due"),
    Twice("sweep_task", _sweep_alive, "alive", "not_due"),
]
READ_ONLY = {"read_task", "list_overdue"}


@pytest.fixture(params=["store", "rest_store"])
def either_store(request: pytest.FixtureRequest) -> Store:
    """Redis over TCP, and over Upstash's REST."""
    store: Store = request.getfixturevalue(request.param)
    return store


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.script}-{case.first}-{case.prepare.__name__.strip('_')}"
)
def test_a_transition_that_is_sent_twice_has_the_effect_of_once(either_store: Store, case: Twice) -> None:
    """D6, D15, D16, D21."""
    bench = Bench(either_store)
    send = case.prepare(bench)
    assert _status(send()) == case.first
    after_once = bench.dump()
    assert _status(send()) == case.second
    assert bench.dump() == after_once


def test_every_transition_is_among_those_that_are_sent_twice() -> None:
    scripts = {path.stem for path in LUA_FOLDER.glob("*.lua") if "-- uses: lib_task" in path.read_text()}
    comparing = {
        name for name in scripts if name.startswith("check_")
    }  # sent twice in test_reconcile_races.py
    assert {case.script for case in CASES} == scripts - READ_ONLY - comparing


@pytest.mark.parametrize("limit", [1, 100])
def test_reading_writes_nothing(store: Store, limit: int) -> None:
    bench = Bench(store)
    job = bench.admit()
    bench.make_overdue(job)
    before = bench.dump()
    bench.tasks.read(job.ref.task_id)
    bench.tasks.overdue(limit)
    assert bench.dump() == before


def test_a_read_never_shows_what_the_task_was_made_from(store: Store) -> None:
    """D38."""
    bench = Bench(store)
    job = bench.admit()
    assert "input" not in (bench.tasks.read(job.ref.task_id) or {})
    assert bench.tasks.read("nothing") is None


def _status(answer: Any) -> str:
    return str(getattr(answer, "status", answer))
