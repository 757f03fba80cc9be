"""From an action to a task under way: admission, then one publish, or nothing at all.

The answer goes out only after QStash has the message (D26). When it does not get it, the task has ended,
refunded, before the caller is told (D20), and its idempotency key is free again (D21).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.actions import observing
from shared.actions.producer import Producer
from shared.actions.sweeper import Sweeper, outgoing_of, ref_of
from shared.auth import StreamTokens
from shared.config import ActionsSettings
from shared.errors import (
    Draining,
    IdempotencyMismatch,
    NotFound,
    PublishFailed,
    QueueFull,
    StoreUnavailable,
    UserBusy,
)
from shared.logs import LogEvent, also, event
from shared.routing import Plan, Template, Tier
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, Admitted, State
from shared.state.tasks import Tasks
from shared.telemetry.ends import task_failed
from shared.telemetry.signals import signals
from shared.telemetry.spans import ADMIT

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid request for a task: who wants what, made from what. `body` makes two requests the same."""

    user_id: str
    plan: Plan
    service_id: str
    locale: str
    body: Mapping[str, Any] = field(repr=False)
    input: Mapping[str, Any] = field(repr=False)
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    idempotency_key: str | None = None
    service_fields: Mapping[str, str] | None = field(default=None, repr=False)
    traceparent: str | None = None

    @property
    def fingerprint(self) -> str:
        text = json.dumps([self.plan.action, self.body], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class Links:
    """The absolute addresses of a task: where its events stream, where its state is read."""

    def __init__(self, settings: ActionsSettings) -> None:
        self._settings = settings
        self._tokens = StreamTokens(settings.stream_token_secret, settings.stream_token_ttl_seconds)

    def stream_url(self, ref: TaskRef, traceparent: str | None) -> str:
        """Return the address of a task's events with a token for this one channel (D24, D35).

        While telemetry is on the token names the task's trace, so that its readers belong to it.
        """
        trace = traceparent if signals().on else None
        token = self._tokens.issue(ref.user_id, ref.service_id, ref.task_id, trace or None)
        return f"{self._settings.events_url}/events/{ref.service_id}/{ref.task_id}?token={token}"

    def status_url(self, ref: TaskRef) -> str:
        return f"{self._settings.actions_url}/tasks/{ref.task_id}"


class Admissions:
    """Admits and publishes."""

    def __init__(
        self, settings: ActionsSettings, tasks: Tasks, producer: Producer, sweeper: Sweeper, links: Links
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._producer = producer
        self._sweeper = sweeper
        self._links = links

    def submit(self, submission: Submission) -> dict[str, Any]:
        """Admit and publish a task; returns the accepted answer.

        Raises:
            QueueFull, UserBusy: nothing was written; come back after `retry_after_seconds`.
            IdempotencyMismatch: the key belongs to another request.
            PublishFailed: the task has ended and all is given back.
        """
        began = time.monotonic()
        admitted = self._admit(submission)
        if admitted.status == "replay" and admitted.task_id != submission.task_id:
            return self._replay(admitted.task_id or "", submission.idempotency_key)
        admitted_at = time.monotonic()
        record = self._new_record(submission, admitted)
        also(task=submission.task_id)
        self._publish(record, submission.idempotency_key)
        _tell_admission(record, admit_ms=_ms(admitted_at - began), publish_ms=_ms_since(admitted_at))
        return self._accepted(record, replay=False)

    def again(self, task_id: str) -> dict[str, Any]:
        """Answer for a task that was admitted before, and publish it if nobody has.

        Raises:
            NotFound: it is not kept any more.
            PublishFailed: it has ended and all is given back.
        """
        return self._replay(task_id, None)

    def _admit(self, submission: Submission) -> Admitted:
        new = Admission(
            ref=TaskRef(submission.task_id, submission.service_id, submission.user_id),
            plan=submission.plan,
            locale=submission.locale,
            input=submission.input,
            initial_quota=self._settings.initial_quota,
            idempotency_key=submission.idempotency_key,
            fingerprint=submission.fingerprint,
            service_fields=submission.service_fields,
            traceparent=submission.traceparent,
        )
        with signals().span(ADMIT) as span:
            admitted = self._tasks.admit(new)
            if admitted.status == "overdue":
                for task_id in admitted.overdue:
                    self._sweeper.touch(task_id)
                admitted = self._tasks.admit(new, touched=True)
            observing.admitted(span, new, admitted)
            _raise_refusal(admitted)
        return admitted

    def _new_record(self, submission: Submission, admitted: Admitted) -> Mapping[str, Any]:
        """Return the record just written without reading it again, unless its answer was lost on its way."""
        if admitted.status == "replay" or admitted.tier is None:
            return self._record(submission.task_id)
        return {
            "taskId": submission.task_id,
            "serviceId": submission.service_id,
            "userId": submission.user_id,
            "tier": admitted.tier,
            "locale": submission.locale,
            "retries": self._settings.time.task_retries,
            "steps": admitted.steps_json,
            "step": 0,
            "traceparent": submission.traceparent,
            "slots": admitted.slots,
        }

    def _record(self, task_id: str) -> dict[str, Any]:
        record = self._tasks.read(task_id)
        if record is None:
            raise NotFound("The task of this Idempotency-Key is not kept any more.")
        return record

    def _publish(self, record: Mapping[str, Any], idempotency_key: str | None) -> None:
        ref = ref_of(record)
        try:
            self._producer.publish(outgoing_of(record, 1))
        except PublishFailed:
            self._give_back(ref, Tier(record["tier"]), idempotency_key)
        else:
            self._confirm(ref)

    def _give_back(self, ref: TaskRef, tier: Tier, idempotency_key: str | None) -> None:
        """End a task that QStash did not take, and say so; unless it got there after all.

        Raises:
            PublishFailed: the task has ended and everything is given back.
            StoreUnavailable: it could not be given back yet; the sweep will.
        """
        state = self._tasks.fail_unpublished(
            ref,
            code=PublishFailed.code,
            message="The task could not be handed to the queue; nothing was charged.",
            idempotency_key=idempotency_key,
        )
        if state in {State.FAILED, State.CANCELLED, "unknown"}:
            event(log, LogEvent.PUBLISH_FAILED, error=PublishFailed.code, task=ref.task_id)
            if state == State.FAILED:
                task_failed(PublishFailed.code, tier)
            raise PublishFailed

    def _confirm(self, ref: TaskRef) -> None:
        """Note that QStash has the message; with Redis away just now, the sweep decides by what it finds."""
        try:
            self._tasks.confirm_publish(ref, 0, 1)
        except StoreUnavailable as error:
            event(log, LogEvent.PUBLISH_UNCONFIRMED, error=error, task=ref.task_id)

    def _replay(self, task_id: str, idempotency_key: str | None) -> dict[str, Any]:
        """Answer a repeated request; a task that was admitted and never published is published now.

        The first request may be publishing it at this moment: both send the same deduplication id. It may
        have failed at it a moment ago: then this one has failed too, and its key is free.
        """
        record = self._record(task_id)
        if record["step"] == "0" and self._tasks.begin_publish(ref_of(record), 0) == 1:
            self._publish(record, idempotency_key)
        elif record["published"] == "0" and self._record(task_id).get("errorCode") == PublishFailed.code:
            self._give_back(ref_of(record), Tier(record["tier"]), idempotency_key)
        event(log, LogEvent.TASK_REPEATED, task=task_id)
        return self._accepted(record, replay=True)

    def _accepted(self, record: Mapping[str, Any], *, replay: bool) -> dict[str, Any]:
        ref = ref_of(record)
        steps = json.loads(record["steps"])
        return {
            "ok": True,
            "taskId": ref.task_id,
            "serviceId": ref.service_id,
            "queueId": steps[0]["queueId"],
            "isFree": record["tier"] == Tier.FREE,
            "stream": any(Template(step["templateId"]).streams for step in steps),
            "streamUrl": self._links.stream_url(ref, record.get("traceparent")),
            "statusUrl": self._links.status_url(ref),
            "replay": replay,
        }


def _raise_refusal(admitted: Admitted) -> None:
    after = admitted.retry_after_seconds or 5
    if admitted.status == "queue_full":
        raise QueueFull(admitted.queue_id or "", retry_after_seconds=after)
    if admitted.status == "draining":
        raise Draining(retry_after_seconds=after)
    if admitted.status == "user_busy":
        raise UserBusy(retry_after_seconds=after)
    if admitted.status == "mismatch":
        raise IdempotencyMismatch


def _tell_admission(record: Mapping[str, Any], *, admit_ms: int, publish_ms: int) -> None:
    steps = json.loads(record["steps"])
    facts = {"lane": steps[0]["queueId"], "tier": record["tier"], "steps": len(steps)}
    event(log, LogEvent.TASK_ADMITTED, facts, admit_ms=admit_ms, publish_ms=publish_ms)


def _ms_since(began: float) -> int:
    return _ms(time.monotonic() - began)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
