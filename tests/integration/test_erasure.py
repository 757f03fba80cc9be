"""Forgetting a user: in parallel with what they do, twice, half, and what comes late."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import UserBusy
from shared.routing import CREATE_SERVICE_TEXT, CUSTOMIZE_RESUME, UPLOAD_RESUME
from shared.state import keys
from shared.state.erasure import ROUNDS, Erased, erase_user
from shared.state.lifecycle import Attempt
from shared.state.scripts import Script
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, Job, new_ref

HOUR_SECONDS = 3600


class Interrupted:
    """A store in whose gaps something else happens: before each script that forgets a user."""

    def __init__(self, store: Store, happens: Iterator[Callable[[], Any]]) -> None:
        self._store = store
        self._happens = happens

    def command(self, *args: str | float | bytes) -> Any:
        return self._store.command(*args)

    def pipeline(self, commands: Sequence[Sequence[str | float | bytes]]) -> list[Any]:
        return self._store.pipeline(commands)

    def script(self, script: Script, key_list: Sequence[str], args: Sequence[str | float | bytes]) -> Any:
        next(self._happens, lambda: None)()
        return self._store.script(script, key_list, args)

    def close(self) -> None:
        self._store.close()


def end(bench: Bench, job: Job) -> None:
    bench.tasks.cancel(job.ref)


def service_of(bench: Bench) -> Job:
    job = bench.admit(service_fields={"userId": "u1"})
    end(bench, job)
    return job


def keys_of(store: Store, user: str = "u1") -> list[str]:
    return [key for key in store.command("KEYS", "*") if user in key or key.startswith(("task:", "service:"))]


def test_an_open_task_is_never_pulled_from_under_its_worker(store: Store) -> None:
    bench = Bench(store)
    attempt = bench.run(bench.admit())
    before = bench.dump()
    assert erase_user(store, "u1") is None
    assert bench.dump() == before
    assert bench.tasks.renew(attempt)


def test_what_comes_while_the_keys_are_looked_up_goes_too(store: Store) -> None:
    bench = Bench(store)
    service_of(bench)
    interrupted = Interrupted(store, iter([lambda: service_of(bench), lambda: service_of(bench)]))
    erased = erase_user(interrupted, "u1")
    assert erased is not None
    assert (erased.services, erased.tasks) == (3, 3)
    assert keys_of(store) == []


def test_a_user_who_does_not_stop_adding_is_told_to_come_back(store: Store) -> None:
    bench = Bench(store)
    service_of(bench)
    endless = Interrupted(store, iter([lambda: service_of(bench)] * ROUNDS))
    with pytest.raises(UserBusy) as refused:
        erase_user(endless, "u1")
    assert refused.value.retry_after_seconds == 1
    assert len(store.command("ZRANGE", keys.services("u1"), 0, -1)) == ROUNDS + 1


def test_two_deletions_at_once_remove_each_thing_once(store: Store) -> None:
    bench = Bench(store, initial_quota=100)
    for _ in range(5):
        service_of(bench)
    with ThreadPoolExecutor(4) as pool:
        all_erased = list(pool.map(lambda _: erase_user(store, "u1"), range(4)))
    assert sum(erased.services for erased in all_erased if erased) == 5
    assert sum(erased.tasks for erased in all_erased if erased) == 5
    assert keys_of(store) == []
    assert sum(json.loads(line)["delta"] for line in store.command("LRANGE", keys.ledger("u1"), 0, -1)) == 100


def test_admissions_in_parallel_are_whole_or_not_there(store: Store) -> None:
    """No service without its record or its place in the index, no coin too many or too few."""
    bench = Bench(store, initial_quota=1000)

    def add(_: int) -> None:
        service_of(bench)

    def forget(_: int) -> None:
        with contextlib.suppress(UserBusy):
            erase_user(store, "u1")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: (add if n % 3 else forget)(n), range(60)))
    listed = store.command("ZRANGE", keys.services("u1"), 0, -1)
    assert all(store.command("HGET", keys.service(service), "userId") == "u1" for service in listed)
    assert sorted(keys.service(service) for service in listed) == sorted(store.command("KEYS", "service:*"))
    noted = set(store.command("ZRANGE", keys.user_keys("u1"), 0, -1))
    assert {*store.command("KEYS", "task:*"), *store.command("KEYS", "cs:events:*")} <= noted
    balance = int(store.command("HGET", keys.quota("u1"), "balance"))
    assert balance == 1000
    assert (
        sum(json.loads(line)["delta"] for line in store.command("LRANGE", keys.ledger("u1"), 0, -1))
        == balance
    )


LATE: dict[str, Callable[[Bench, Job, Attempt], Any]] = {
    "begin_publish": lambda bench, job, _: bench.tasks.begin_publish(job.ref, 0),
    "confirm_publish": lambda bench, job, _: bench.tasks.confirm_publish(job.ref, 0, 1),
    "fail_unpublished": lambda bench, job, _: bench.fail_unpublished(job),
    "claim": lambda bench, job, _: bench.claim(job),
    "renew": lambda bench, _, attempt: bench.tasks.renew(attempt),
    "finish": lambda bench, job, attempt: bench.finish(
        attempt, keep_key=keys.resume("u1"), keep_field="summary", keep={"summary": "{}"}
    ),
    "release": lambda bench, _, attempt: bench.release(attempt),
    "fail": lambda bench, _, attempt: bench.tasks.fail(attempt, code="c", message="m"),
    "cancel": lambda bench, job, _: bench.tasks.cancel(job.ref),
    "sweep": lambda bench, job, _: bench.tasks.sweep(job.ref, step=job.steps[0], tier=job.tier),
    "requeue": lambda bench, job, _: bench.tasks.requeue(
        job.ref, step=job.steps[0], index=0, tier=job.tier, message_id="m", refused=False
    ),
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
def test_no_transition_that_comes_late_brings_anything_back(
    store: Store, late: Callable[[Bench, Job, Attempt], Any]
) -> None:
    bench = Bench(store)
    job = bench.admit(plan=UPLOAD_RESUME)
    attempt = bench.run(job)
    end(bench, job)
    bench.tasks.release_slot(attempt)
    assert erase_user(store, "u1") is not None
    before = bench.dump()
    late(bench, job, attempt)
    assert bench.dump() == before
    assert keys_of(store) == []


def test_every_idempotency_key_goes_also_one_that_only_found_its_task(store: Store) -> None:
    bench = Bench(store)
    ref = service_of(bench).ref
    job = bench.admit(plan=CUSTOMIZE_RESUME, ref=new_ref(service=ref.service_id), idempotency_key="first")
    found = bench.ask(plan=CUSTOMIZE_RESUME, ref=new_ref(service=ref.service_id), idempotency_key="second")
    assert (found.status, found.task_id) == ("replay", job.ref.task_id)
    assert len(store.command("KEYS", "idem:*")) == 2
    end(bench, job)
    erase_user(store, "u1")
    assert store.command("KEYS", "idem:*") == []


def test_a_key_is_noted_for_as_long_as_it_lives(store: Store) -> None:
    """An idempotency key lives a day, a stream for its own time, however short a record's is."""
    bench = Bench(store, task_ttl_seconds=1)
    bench.admit(idempotency_key="k")
    lives_ms = max(store.command("PTTL", key) for key in store.command("KEYS", "idem:*"))
    assert store.command("PTTL", keys.user_keys("u1")) >= lives_ms + HOUR_SECONDS
    store.command(
        "ZADD", keys.user_keys("u1"), "XX", int(store.command("TIME")[0]) * 1000 - lives_ms // 2, "x"
    )
    bench.admit(idempotency_key="k2")
    assert {*store.command("KEYS", "idem:*")} <= set(store.command("ZRANGE", keys.user_keys("u1"), 0, -1))


def test_the_index_of_services_outlives_every_service_in_it(store: Store) -> None:
    """Else a service whose last result came late could neither be listed nor be deleted."""
    bench = Bench(store, retention_seconds=60)
    job = bench.admit(plan=CREATE_SERVICE_TEXT, service_fields={"userId": "u1"})
    attempt = bench.run(job)
    store.command("PEXPIRE", keys.service(job.ref.service_id), 1000)
    key = keys.service(job.ref.service_id)
    bench.finish(attempt, keep_key=key, keep_field="match", keep={"match": "{}"})
    longest_ms = (bench.time.retention_seconds + 2 * bench.time.place_max_age_seconds) * 1000
    assert store.command("PTTL", keys.services("u1")) > longest_ms - 60_000
    assert store.command("PTTL", keys.services("u1")) > store.command("PTTL", key)


def test_a_step_of_a_service_that_went_meanwhile_brings_no_part_of_it_back(store: Store) -> None:
    """The service was there when the request looked, and is not when it is admitted."""
    bench = Bench(store)
    job = bench.admit(plan=CUSTOMIZE_RESUME)
    assert store.command("EXISTS", keys.service(job.ref.service_id)) == 0


def test_a_user_never_seen_is_erased_without_a_trace(store: Store) -> None:
    assert erase_user(store, "u1") == Erased(0, 0, 0, None)
    assert store.command("DBSIZE") == 0


def test_thousands_of_tasks_go_at_once_and_each_is_counted(store: Store) -> None:
    """More than go in one command, of records and of all else."""
    names = [keys.task(f"t{number}") for number in range(1_001)]
    streams = [keys.events("u1", "s1", f"t{number}") for number in range(1_001)]
    store.pipeline([["SET", name, "x"] for name in (*names, *streams, keys.service("s1"))])
    store.command("ZADD", keys.user_keys("u1"), *(part for name in (*names, *streams) for part in (1, name)))
    store.command("ZADD", keys.services("u1"), 1, "s1")
    assert erase_user(store, "u1") == Erased(resumes=0, services=1, tasks=1_001, balance=None)
    assert store.command("DBSIZE") == 0
