"""The transitions of a task: one Lua script each, one typed method each.

    admit ─▶ queued ─▶ claim ─▶ running ─▶ finish ─▶ done          (or queued again, for the next step)
               ▲                   │ release (a failure that may pass) ─▶ queued
               └───────────────────┘ fail ─▶ failed      cancel, sweep: from queued or running

Every script may be sent twice, late or never: the second time it answers as the first did, late it finds
the task ended or moved on and changes nothing, and what was never sent is ended by `sweep`. The record is
`task:{id}`; keys.py lists the others. Who holds an attempt is named by its epoch, which is also the first
half of its event ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.config import ConcurrencyConfig, StreamSettings, TimeSettings
from shared.routing import Lane, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import (
    Admission,
    Admitted,
    Attempt,
    Claim,
    Finished,
    Requeue,
    State,
    Step,
    plan_steps,
)
from shared.state.records import UPLOADS, record_key
from shared.state.scripts import load_script
from shared.state.store import Store

IDEMPOTENCY_SECONDS = 24 * 3600
PUBLISH_GRACE_SECONDS = 15.0
"""A publish has surely come to an end by then: an older task that is unpublished has lost its producer."""


class Tasks:
    """The transitions, on one store and one set of limits. Stateless and thread-safe."""

    def __init__(
        self, store: Store, *, concurrency: ConcurrencyConfig, time: TimeSettings, stream: StreamSettings
    ) -> None:
        self._store = store
        self._concurrency = concurrency
        self._time = time
        self._stream = stream

    # -- the producer's --------------------------------------------------------------------------------------

    def admit(self, new: Admission, *, touched: bool = False) -> Admitted:
        """Admit a task, or say why not; nothing is written unless it is accepted.

        Whoever is refused by a full queue is promised a place in it at the time that the answer names.

        With status `overdue`, the user has tasks in `overdue` that must be swept before this can be decided:
        sweep them and call again with `touched`.
        """
        idempotency_key = (
            keys.idempotency(new.ref.user_id, new.idempotency_key) if new.idempotency_key else keys.NO_KEY
        )
        answer = self._json(
            "admit_task",
            [
                *keys.of_transition(
                    new.ref,
                    result=record_key(new.ref),
                    index=keys.services(new.ref.user_id),
                    idempotency_key=idempotency_key,
                ),
                *(keys.promised(lane) for lane in Lane),
            ],
            self._admission_json(new, touched=touched),
        )
        return Admitted(
            status=answer["status"],
            task_id=answer.get("taskId"),
            tier=Tier(answer["tier"]) if "tier" in answer else None,
            steps_json=json.dumps(answer.get("steps", [])),
            queue_id=answer.get("queueId"),
            retry_after_seconds=answer.get("retryAfter"),
            slots=answer.get("slots"),
            overdue=tuple(answer.get("tasks", ())),
        )

    def _admission_json(self, new: Admission, *, touched: bool) -> dict[str, Any]:
        return {
            "taskId": new.ref.task_id,
            "serviceId": new.ref.service_id,
            "userId": new.ref.user_id,
            "action": new.plan.action,
            "locale": new.locale,
            "retries": self._time.task_retries,
            "traceparent": new.traceparent,
            "input": _dumps(new.input),
            "cost": new.plan.cost,
            "initialQuota": new.initial_quota,
            "userMax": self._concurrency.user_max_active,
            "steps": {
                tier: [self._step_json(s) for s in plan_steps(new.plan, tier, self._time)] for tier in Tier
            },
            "places": {lane: self._concurrency.places(lane) for lane in Lane},
            "placeMaxAgeMs": _ms(self._time.place_max_age_seconds),
            "unpublishedMs": self.unpublished_ms,
            "openTtlMs": _ms(self._time.task_ttl_seconds + self._time.place_max_age_seconds),
            "keepMs": self._keep_ms,
            "notedMs": self._noted_ms,
            "maxlen": self._stream.maxlen,
            "fingerprint": new.fingerprint if new.idempotency_key else None,
            "idempotencyMs": IDEMPOTENCY_SECONDS * 1000,
            "service": _flat(new.service_fields) if new.service_fields else None,
            "uploads": UPLOADS,
            "once": new.plan.once,
            "touched": touched,
        }

    @staticmethod
    def _step_json(step: Step) -> dict[str, Any]:
        return {
            "templateId": step.template,
            "queueId": step.lane,
            "modelId": step.model,
            "maxWaitMs": step.max_wait_ms,
        }

    def begin_publish(self, ref: TaskRef, step: int) -> int:
        """Return the number under which to publish a step's message; 0 when there is nothing to publish."""
        return int(self._run("begin_publish", keys.of_transition(ref), [step]))

    def confirm_publish(self, ref: TaskRef, step: int, n: int) -> None:
        """Note that message `n` of a step is with QStash: its waiting budget is its deadline from now on."""
        self._run("confirm_publish", keys.of_transition(ref), [step, n, self._grace_ms])

    def requeue(
        self, ref: TaskRef, *, step: Step, index: int, tier: Tier, message_id: str, refused: bool
    ) -> Requeue:
        """Decide what follows a message that QStash gave up on; once for each message."""
        answer = self._json(
            "requeue_task",
            keys.of_transition(ref, lock=keys.slots(step.model, tier)),
            {
                "messageId": message_id,
                "step": index,
                "refused": refused,
                "leaseMs": _ms(self._time.lease_seconds),
                "slots": self._concurrency.slots(step.model, tier),
                "unpublishedMs": self.unpublished_ms,
                "ttl": self._ttl,
            },
        )
        return Requeue(
            answer["status"],
            answer.get("n", 0),
            answer.get("delaySeconds", 0),
            answer.get("slots"),
            answer.get("code", ""),
        )

    def cancel(self, ref: TaskRef) -> State | None:
        """Cancel a task and return its state; None when there is no such task."""
        state = self._script("cancel_task", keys.of_transition(ref), {"ttl": self._ttl})
        return None if state == "unknown" else State(state)

    def fail_unpublished(self, ref: TaskRef, *, code: str, message: str, idempotency_key: str | None) -> str:
        """End a task that could not be handed over, and free its idempotency key. Returns its state."""
        key = keys.idempotency(ref.user_id, idempotency_key) if idempotency_key else keys.NO_KEY
        return str(
            self._script(
                "fail_task",
                keys.of_transition(ref, idempotency_key=key),
                {
                    "epoch": "",
                    "holder": "",
                    "code": code,
                    "message": message,
                    "usage": None,
                    "ttl": self._ttl,
                },
            )
        )

    # -- an attempt's ----------------------------------------------------------------------------------------

    def claim(self, ref: TaskRef, *, step: int, at: Step, tier: Tier, nonce: str) -> Claim:
        """Claim a step for one delivery, named by `nonce`; see claim_task.lua for the statuses."""
        answer = self._json(
            "claim_task",
            keys.of_transition(ref, lock=keys.slots(at.model, tier)),
            {
                "taskId": ref.task_id,
                "serviceId": ref.service_id,
                "userId": ref.user_id,
                **{k: v for k, v in self._step_json(at).items() if k != "maxWaitMs"},
                "tier": tier,
                "step": step,
                "nonce": nonce,
                "leaseMs": _ms(self._time.lease_seconds),
                "slots": self._concurrency.slots(at.model, tier),
                "runMs": _ms(self._time.worker_timeout_seconds + self._time.lease_seconds),
                "graceMs": self._grace_ms,
                "ttl": self._ttl,
            },
        )
        if answer["status"] != "claimed":
            return Claim(answer["status"], answer.get("retryAfter"))
        attempt = Attempt(
            ref=ref,
            step=step,
            number=answer["attempt"],
            epoch=answer["epoch"],
            holder=answer["holder"],
            model=at.model,
            tier=tier,
            lane=at.lane,
            locale=answer["locale"],
            created_at_ms=answer["createdAt"],
            input=json.loads(answer["input"]),
            is_last_step=answer["isLast"],
        )
        return Claim(
            "claimed", attempt=attempt, waited_ms=answer["waitedMs"], took_over=answer.get("tookOver", False)
        )

    def renew(self, attempt: Attempt) -> bool:
        """Renew an attempt's lease; False when the attempt is over and must stop."""
        slots = self._concurrency.slots(attempt.model, attempt.tier)
        args: list[str | int] = [attempt.epoch, attempt.holder, _ms(self._time.lease_seconds), slots]
        return bool(self._run("renew_lease", self._attempt_keys(attempt), args))

    def finish(self, attempt: Attempt, finished: Finished) -> str:
        """Finish an attempt: `done`, `step_done` (another step follows) or `superseded`."""
        return str(
            self._script(
                "finish_task",
                self._attempt_keys(attempt, result=finished.keep_key or keys.NO_KEY),
                {
                    "epoch": attempt.epoch,
                    "holder": attempt.holder,
                    "event": finished.event,
                    "result": _dumps(finished.result),
                    "usage": _dumps(finished.usage),
                    "keep": _flat(finished.keep),
                    "keepField": finished.keep_field,
                    "keepMs": self._keep_ms,
                    "unpublishedMs": self.unpublished_ms,
                    "ttl": self._ttl,
                },
            )
        )

    def release(
        self,
        attempt: Attempt,
        *,
        code: str,
        message: str,
        retry_after_seconds: int,
        usage: Mapping[str, Any] | None = None,
    ) -> str:
        """Give back an attempt that may be repeated: `released`, `exhausted` (the last) or `superseded`.

        `usage` is what it used of its model, as far as it knows; it counts with the step's end.
        """
        return str(
            self._script(
                "release_attempt",
                self._attempt_keys(attempt),
                {
                    "epoch": attempt.epoch,
                    "holder": attempt.holder,
                    "code": code,
                    "message": message,
                    "retryAfter": retry_after_seconds,
                    "usage": usage,
                    "graceMs": self._grace_ms,
                    "ttl": self._ttl,
                },
            )
        )

    def fail(
        self, attempt: Attempt, *, code: str, message: str, usage: Mapping[str, Any] | None = None
    ) -> str:
        """End a task that no attempt can complete: `failed`, or the state that came first.

        `usage` is what the attempt used of its model, as far as it knows.
        """
        return str(
            self._script(
                "fail_task",
                self._attempt_keys(attempt),
                {
                    "epoch": attempt.epoch,
                    "holder": attempt.holder,
                    "code": code,
                    "message": message,
                    "usage": usage,
                    "ttl": self._ttl,
                },
            )
        )

    def release_slot(self, attempt: Attempt) -> None:
        """Give back the slot of an attempt that was taken over or cancelled; nobody else's can be meant."""
        self._store.command("ZREM", keys.slots(attempt.model, attempt.tier), attempt.holder)

    # -- whoever looks ---------------------------------------------------------------------------------------

    def read(self, task_id: str) -> dict[str, Any] | None:
        """Return a task's record as text, with `position`, `etaSeconds`, `overdue`; None without one."""
        answer = self._run("read_task", keys.of_transition(TaskRef(task_id, "", "")), [])
        record: dict[str, Any] | None = json.loads(answer)
        return record

    def overdue(self, limit: int = 100) -> Sequence[str]:
        """Return open tasks whose deadline has passed, oldest first."""
        ids: list[str] = self._run("list_overdue", keys.of_transition(TaskRef("", "", "")), [limit])
        return ids

    def sweep(self, ref: TaskRef, *, step: Step, tier: Tier) -> str:
        """Look after one task that may be overdue; see sweep_task.lua for the answers."""
        idempotency_key = self._store.command("HGET", keys.task(ref.task_id), "idempotency") or keys.NO_KEY
        return str(
            self._script(
                "sweep_task",
                keys.of_transition(
                    ref, lock=keys.slots(step.model, tier), idempotency_key=str(idempotency_key)
                ),
                {
                    "taskId": ref.task_id,
                    "slots": self._concurrency.slots(step.model, tier),
                    "graceMs": self._grace_ms,
                    "unpublishedMs": self.unpublished_ms,
                    "ttl": self._ttl,
                },
            )
        )

    def forget(self, task_id: str) -> None:
        """Take a task out of the index whose record is gone."""
        self._store.command("ZREM", keys.OPEN_TASKS, task_id)

    # -- the plumbing ----------------------------------------------------------------------------------------

    @property
    def _grace_ms(self) -> int:
        """How long after its waiting budget a task may still be claimed, to end as `wait_timeout`."""
        return _ms(self._time.lease_seconds)

    @property
    def unpublished_ms(self) -> int:
        """When a step without a message is overdue: while there is waiting budget left to publish it in."""
        waiting = min(self._time.max_wait_seconds_stream, self._time.max_wait_seconds_batch)
        return _ms(min(waiting / 2, max(self._time.lease_seconds, PUBLISH_GRACE_SECONDS)))

    @property
    def _keep_ms(self) -> int:
        """How long a user's record is kept: an open task's never goes before the task has ended."""
        return _ms(self._time.retention_seconds + self._time.place_max_age_seconds)

    @property
    def _noted_ms(self) -> int:
        """How long a key that an admission makes can live: the record, the stream, an idempotency key."""
        kept_seconds = max(self._time.task_ttl_seconds, self._stream.ttl_seconds, IDEMPOTENCY_SECONDS)
        return _ms(self._time.place_max_age_seconds + kept_seconds)

    @property
    def _ttl(self) -> dict[str, int]:
        return {
            "maxlen": self._stream.maxlen,
            "streamMs": _ms(self._stream.ttl_seconds),
            "taskMs": _ms(self._time.task_ttl_seconds),
        }

    @staticmethod
    def _attempt_keys(attempt: Attempt, *, result: str = keys.NO_KEY) -> list[str]:
        return keys.of_transition(attempt.ref, lock=keys.slots(attempt.model, attempt.tier), result=result)

    def _run(self, name: str, key_list: list[str], args: Sequence[str | int]) -> Any:
        return self._store.script(load_script(name), key_list, list(args))

    def _script(self, name: str, key_list: list[str], request: Mapping[str, Any]) -> Any:
        return self._run(name, key_list, [_dumps(request)])

    def _json(self, name: str, key_list: list[str], request: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._script(name, key_list, request))
        return answer


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _dumps(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _flat(fields: Mapping[str, str] | None) -> list[str]:
    return [part for pair in (fields or {}).items() for part in pair]
