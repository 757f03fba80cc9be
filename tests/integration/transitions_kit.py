"""What the tests of the transitions share: a bench with one store and one set of limits, and hands that move time.

Redis's clock decides everything, so a test does not wait: it moves a lease, a deadline or a task's waiting into the
past, as if the time had gone by.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.config import StreamSettings, TimeSettings, get_concurrency_config
from shared.routing import CREATE_SERVICE_TEXT, Action, Lane, Model, Plan, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, Admitted, Attempt, Claim, Finished, Requeue, State, Step
from shared.state.records import UPLOADS
from shared.state.store import Store
from shared.state.tasks import Tasks

LONG_AGO_MS = 1
TERMINAL = {"done", "error", "cancelled"}


@dataclass(frozen=True, slots=True)
class Job:
    """An admitted task, as its producer knows it."""

    ref: TaskRef
    tier: Tier
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a task's stream."""

    id: str
    type: str
    data: Mapping[str, Any] = field(repr=False)


def time_settings(**changes: float) -> TimeSettings:
    """Return the defaults with some of them changed."""
    values: dict[str, Any] = {
        "lease_seconds": 30.0,
        "worker_timeout_seconds": 300.0,
        "max_wait_seconds_stream": 480.0,
        "max_wait_seconds_batch": 600.0,
        "task_retries": 3,
        "sweep_minutes": 5.0,
        "task_ttl_seconds": 604800.0,
        "retention_seconds": 31_536_000.0,
    }
    return TimeSettings(**{**values, **changes})


class Bench:
    """The transitions on a real Valkey, and what they left there.

    Args:
        limits: variables of the configuration, such as GLM_MAX_WORKERS.
        initial_quota: coins of a user who was never seen.
        seconds: changes to the durations.
    """

    def __init__(
        self,
        store: Store,
        limits: Mapping[str, str] | None = None,
        *,
        initial_quota: int = 8,
        **seconds: float,
    ) -> None:
        self.store = store
        self.time = time_settings(**seconds)
        self.limits = get_concurrency_config({"USER_MAX_ACTIVE": "1000", **(limits or {})})
        self.stream = StreamSettings(100, 64, 86400.0, 10000, 15.0, 840.0)
        self.tasks = Tasks(store, concurrency=self.limits, time=self.time, stream=self.stream)
        self.initial_quota = initial_quota

    # -- the transitions, with what a test does not care about filled in -------------------------------------

    def ask(self, user: str = "u1", plan: Plan = CREATE_SERVICE_TEXT, **changes: Any) -> Admitted:
        """Ask for a task; whether it is accepted is for the caller to see."""
        ref = changes.pop("ref", None) or new_ref(user)
        touched = changes.pop("touched", False)
        new = Admission(
            ref=ref,
            plan=plan,
            locale="en",
            input={"text": "words"},
            initial_quota=self.initial_quota,
            **{"fingerprint": "f", **changes},
        )
        return self.tasks.admit(new, touched=touched)

    def admit(self, user: str = "u1", plan: Plan = CREATE_SERVICE_TEXT, **changes: Any) -> Job:
        """Admit a task that there is room for."""
        of_user = plan.action in {Action.UPLOAD_RESUME, Action.UPLOAD_DETAILED_RESUME}
        ref = changes.setdefault("ref", new_ref(user, UPLOADS if of_user else None))
        admitted = self.ask(user, plan, **changes)
        assert admitted.status == "accepted"
        assert admitted.tier is not None
        return Job(ref, admitted.tier, tuple(map(Step.from_record, json.loads(admitted.steps_json))))

    def publish(self, job: Job, step: int = 0) -> int:
        """Publish a step, as far as the record knows."""
        n = self.tasks.begin_publish(job.ref, step)
        self.tasks.confirm_publish(job.ref, step, n)
        return n

    def claim(self, job: Job, step: int = 0, nonce: str | None = None) -> Claim:
        return self.tasks.claim(
            job.ref, step=step, at=job.steps[step], tier=job.tier, nonce=nonce or uuid.uuid4().hex
        )

    def run(self, job: Job, step: int = 0) -> Attempt:
        """Claim a step that is free to be claimed."""
        claim = self.claim(job, step)
        assert claim.attempt is not None, claim.status
        return claim.attempt

    def finish(self, attempt: Attempt, result: Mapping[str, Any] | None = None, **keep: Any) -> str:
        kind = "done" if attempt.is_last_step else "step_result"
        event = json.dumps({"type": kind, "taskId": attempt.ref.task_id, "attempt": attempt.number})
        return self.tasks.finish(
            attempt, Finished(event, result or {"text": "answer"}, {"totalTokens": 3}, **keep)
        )

    def release(self, attempt: Attempt) -> str:
        return self.tasks.release(attempt, code="provider_error", message="It broke.", retry_after_seconds=2)

    def fail(self, attempt: Attempt) -> str:
        return self.tasks.fail(attempt, code="provider_refused", message="It cannot work.")

    def fail_unpublished(self, job: Job, idempotency_key: str | None = None) -> str:
        return self.tasks.fail_unpublished(
            job.ref, code="publish_failed", message="Not handed over.", idempotency_key=idempotency_key
        )

    def requeue(self, job: Job, message_id: str = "m1", step: int = 0, *, refused: bool = False) -> Requeue:
        return self.tasks.requeue(
            job.ref, step=job.steps[step], index=step, tier=job.tier, message_id=message_id, refused=refused
        )

    def sweep(self, job: Job, step: int = 0) -> str:
        return self.tasks.sweep(job.ref, step=job.steps[step], tier=job.tier)

    def cancel(self, job: Job) -> State | None:
        return self.tasks.cancel(job.ref)

    # -- moving time -----------------------------------------------------------------------------------------

    def lapse(self, attempt: Attempt) -> None:
        """Let an attempt's lease lapse, as when its worker was killed a while ago."""
        key = keys.slots(attempt.model, attempt.tier)
        assert self.store.command("ZADD", key, "XX", "CH", self.now_ms() - 1, attempt.holder) == 1

    def make_overdue(self, job: Job) -> None:
        """Let a task's deadline pass."""
        self.store.command("ZADD", keys.OPEN_TASKS, LONG_AGO_MS, job.ref.task_id)

    def wait_long(self, job: Job) -> None:
        """Let a queued task's waiting budget run out."""
        self.store.command("HSET", keys.task(job.ref.task_id), "waitingSince", LONG_AGO_MS)

    def now_ms(self) -> int:
        seconds, micros = self.store.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    # -- what is there ---------------------------------------------------------------------------------------

    def deadline_ms(self, job: Job) -> int:
        return int(self.store.command("ZSCORE", keys.OPEN_TASKS, job.ref.task_id))

    def record(self, job: Job) -> dict[str, str]:
        flat = self.store.command("HGETALL", keys.task(job.ref.task_id))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def events(self, job: Job) -> list[Event]:
        rows = self.store.command("XRANGE", events_key(job), "-", "+")
        parsed = [(event_id, json.loads(fields[1])) for event_id, fields in rows]
        return [Event(event_id, data["type"], data) for event_id, data in parsed]

    def types(self, job: Job) -> list[str]:
        return [event.type for event in self.events(job)]

    def last(self, job: Job) -> Mapping[str, Any]:
        return self.events(job)[-1].data

    def places(self, lane: Lane) -> list[str]:
        members: list[str] = self.store.command("ZRANGE", keys.queue(lane), 0, -1)
        return members

    def holders(self, model: Model, tier: Tier = Tier.PAID) -> list[str]:
        members: list[str] = self.store.command("ZRANGE", keys.slots(model, tier), 0, -1)
        return members

    def balance(self, user: str = "u1") -> int | None:
        balance = self.store.command("HGET", keys.quota(user), "balance")
        return None if balance is None else int(balance)

    def ledger(self, user: str = "u1") -> list[tuple[str, int]]:
        """Return the kind and the coins of each line."""
        lines = map(json.loads, self.store.command("LRANGE", keys.ledger(user), 0, -1))
        return [(line["kind"], line["delta"]) for line in lines]

    def dump(self) -> dict[str, Any]:
        """Return all that Redis holds, but when a lease lapses and the tallies: what nothing changed is alike."""
        names = [name for name in self.store.command("KEYS", "*") if name != keys.TALLIES]
        return {name: _contents(self.store, name) for name in sorted(names)}


def new_ref(user: str = "u1", service: str | None = None) -> TaskRef:
    return TaskRef(f"t{uuid.uuid4().hex[:12]}", service or f"s{uuid.uuid4().hex[:12]}", user)


def events_key(job: Job) -> str:
    return keys.events(job.ref.user_id, job.ref.service_id, job.ref.task_id)


def poll(condition: Callable[[], bool], *, within_seconds: float = 10.0) -> None:
    """Return as soon as `condition` holds."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"


def _contents(store: Store, name: str) -> Any:
    kind = store.command("TYPE", name)
    if kind == "zset":
        scores = [] if name.startswith("lock:") else ["WITHSCORES"]
        return store.command("ZRANGE", name, 0, -1, *scores)
    if kind == "set":
        return sorted(store.command("SMEMBERS", name))
    if kind == "hash":
        flat = store.command("HGETALL", name)
        return dict(zip(flat[::2], flat[1::2], strict=True))
    reads: dict[str, tuple[str | int, ...]] = {
        "stream": ("XRANGE", "-", "+"),
        "list": ("LRANGE", 0, -1),
        "string": ("GET",),
    }
    verb, *rest = reads[kind]
    return store.command(str(verb), name, *rest)
