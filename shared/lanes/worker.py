"""One delivery, from start to answer: guard, claim, run, finish.

    checks ─▶ claim_task ─▶ model ═▶ events ─▶ finish_task ─▶ 200
                 │ 429 / 200 / 489      │ release_attempt 503, fail_task 489, superseded 200

The answer tells QStash what to do next and nothing else; what the user sees is in the event stream. A worker decides
no tier, no queue and no model: the message says them and the record confirms them (D7, D8).
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from flask import Request, Response

from shared.config import LaneSettings, load_lane
from shared.errors import (
    NON_RETRYABLE,
    AttemptLost,
    ConfigError,
    MessageError,
    PermanentTaskError,
    RetryableTaskError,
    SignatureError,
    SluiceError,
    StoreUnavailable,
)
from shared.lanes.guards import check_delivery
from shared.lanes.keeper import Keeper
from shared.lanes.materials import gather
from shared.llm.runner import Outcome, StopSignal, TemplateCall, run_template
from shared.messages import TaskMessage
from shared.routing import Lane
from shared.state.blobs import BlobStore
from shared.state.keys import TaskRef, events
from shared.state.records import keeps
from shared.state.store import Store, open_store
from shared.state.tasks import Attempt, Claim, Finished, Step, Tasks
from shared.stream.events import Done, StepResult, Thinking, encode
from shared.stream.publisher import AttemptWriter

log = logging.getLogger(__name__)
MAX_IDLE_SECONDS = 60.0
"""How long a provider may be silent in mid-answer before the attempt is given up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What QStash is told."""

    status: int
    body: Mapping[str, Any]
    retry_after_seconds: int | None = None

    def to_response(self) -> Response:
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        if self.status == NON_RETRYABLE:
            headers["Upstash-NonRetryable-Error"] = "true"
        return Response(json.dumps(self.body), self.status, mimetype="application/json", headers=headers)


_CLAIM_STATUS: Mapping[str, int] = {
    "duplicate": HTTPStatus.OK,
    "wait_timeout": HTTPStatus.OK,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
    "no_slot": HTTPStatus.TOO_MANY_REQUESTS,
    "exhausted": NON_RETRYABLE,
    "unknown": NON_RETRYABLE,
    "mismatch": NON_RETRYABLE,
}


@dataclass(frozen=True)
class Worker:
    """What answers one lane's deliveries, built once for a process from its settings."""

    settings: LaneSettings
    run: Callable[..., Outcome] = field(default=run_template)

    @cached_property
    def store(self) -> Store:
        return open_store(self.settings.redis)

    @cached_property
    def tasks(self) -> Tasks:
        s = self.settings
        return Tasks(self.store, concurrency=s.concurrency, time=s.time, stream=s.stream)

    @cached_property
    def blobs(self) -> BlobStore | None:
        return BlobStore(self.settings.blob_url) if self.settings.blob_url else None

    @property
    def run_seconds(self) -> float:
        """How long an attempt may run: less than the function and QStash wait, so that both get an answer."""
        timeout = self.settings.time.worker_timeout_seconds
        return timeout - min(10.0, timeout / 10)

    def answer(self, request: Request) -> Response:
        """Answer one delivery; never raises, never redirects."""
        try:
            answer = self._deliver(request)
        except SignatureError as error:
            log.warning("refused, signature: %s", error)
            answer = Answer(error.status, {"error": error.code})
        except SluiceError as error:
            log.warning("refused: %s", error)
            answer = Answer(error.status, {"error": error.code, "message": str(error)}, error.retry_after_seconds)
        except Exception:
            log.exception("a delivery failed")
            answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "internal"}, 5)
        return answer.to_response()

    def _deliver(self, request: Request) -> Answer:
        s = self.settings
        message = check_delivery(request, lane=s.lane, route_url=s.route_url, keys=s.signing_keys)
        claim = self._claim(message)
        if claim.attempt is None:
            return self._refused(claim)
        return self._run_attempt(message, claim.attempt)

    def _claim(self, message: TaskMessage) -> Claim:
        return self.tasks.claim(
            TaskRef(message.task_id, message.service_id, message.user_id),
            step=message.step,
            at=Step(message.template_id, message.queue_id, message.model_id, 0),
            tier=message.tier,
            nonce=uuid.uuid4().hex,
        )

    @staticmethod
    def _refused(claim: Claim) -> Answer:
        status = _CLAIM_STATUS[claim.status]
        if claim.status in {"unknown", "mismatch"}:
            raise MessageError(f"the task's record does not agree: {claim.status}")
        return Answer(status, {"status": claim.status}, claim.retry_after_seconds)

    def _run_attempt(self, message: TaskMessage, attempt: Attempt) -> Answer:
        """Run a claimed attempt to one of its ends; whatever happens, its slot is given back or its lease lapses."""
        try:
            return self._produce(message, attempt)
        except AttemptLost:
            self.tasks.release_slot(attempt)
            return Answer(HTTPStatus.OK, {"status": "superseded"})
        except PermanentTaskError as error:
            return self._fail(attempt, error)
        except RetryableTaskError as error:
            return self._release(attempt, error)
        except StoreUnavailable as error:
            log.warning("attempt %s: the store is away", attempt.holder)
            return self._release(attempt, RetryableTaskError(error.code, str(error)))
        except Exception:
            log.exception("attempt %s failed", attempt.holder)
            return self._release(attempt, RetryableTaskError("internal", "Something went wrong here."))

    def _produce(self, message: TaskMessage, attempt: Attempt) -> Answer:
        s, template, stop = self.settings, message.template_id, StopSignal()
        writer = AttemptWriter(
            self.store,
            events(attempt.ref.user_id, attempt.ref.service_id, attempt.ref.task_id),
            task_id=attempt.ref.task_id,
            step=attempt.step,
            attempt=attempt.number,
            epoch_ms=int(attempt.epoch),
            settings=s.stream,
        )
        keeper = Keeper(
            self.tasks, attempt, stop, lease_seconds=s.time.lease_seconds, run_seconds=self.run_seconds
        )
        with keeper, writer:
            call = TemplateCall(
                template=template,
                model=attempt.model,
                locale="zh" if attempt.locale == "zh" else "en",
                inputs=gather(template, attempt, self.store, self.blobs),
                today=datetime.datetime.now(datetime.UTC).date(),
            )
            started = datetime.datetime.now(datetime.UTC)
            outcome = self.run(
                call,
                provider=s.providers[attempt.model.provider],
                stop=stop,
                on_text=writer.token,
                on_thinking=lambda: writer.event(Thinking(step=attempt.step, offset=writer.text_length)),
                idle_seconds=min(MAX_IDLE_SECONDS, self.run_seconds),
            )
            writer.drain()
            latency_ms = round((datetime.datetime.now(datetime.UTC) - started).total_seconds() * 1000)
            status = self.tasks.finish(attempt, self._finished(message, attempt, outcome, latency_ms))
        return Answer(HTTPStatus.OK, {"status": "done" if status == "step_done" else status})

    @staticmethod
    def _finished(message: TaskMessage, attempt: Attempt, outcome: Outcome, latency_ms: int) -> Finished:
        keep = keeps(message.template_id, attempt.ref)
        kept = {keep.field: json.dumps(outcome.result, ensure_ascii=False)}
        if "score" in outcome.result:
            kept["score"] = json.dumps(outcome.result["score"])
        if outcome.result.get("jobTitle"):
            kept["title"] = json.dumps(outcome.result["jobTitle"], ensure_ascii=False)
        if attempt.is_last_step:
            event: Done | StepResult = Done(
                result=outcome.result,
                usage=outcome.usage,
                latency_ms=latency_ms,
                text_length=len(outcome.result.get("text", "")) if message.template_id.streams else 0,
            )
        else:
            event = StepResult(step=attempt.step, template_id=message.template_id, data=outcome.result)
        return Finished(
            event=encode(event, task_id=attempt.ref.task_id, attempt=attempt.number),
            result=outcome.result,
            usage=outcome.usage,
            keep_key=keep.key,
            keep_field=keep.field,
            keep=kept,
        )

    def _fail(self, attempt: Attempt, error: PermanentTaskError) -> Answer:
        status = self.tasks.fail(attempt, code=error.code, message=str(error))
        if status != "failed":
            return Answer(HTTPStatus.OK, {"status": "superseded"})
        return Answer(NON_RETRYABLE, {"status": "failed", "error": error.code})

    def _release(self, attempt: Attempt, error: RetryableTaskError) -> Answer:
        """Give the attempt back. With Redis away too, the lease lapses by itself and the answer is the same."""
        after = error.retry_after_seconds or min(30, 2**attempt.number)
        try:
            status = self.tasks.release(attempt, code=error.code, message=str(error), retry_after_seconds=after)
        except StoreUnavailable:
            after = max(after, math.ceil(self.settings.time.lease_seconds))
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.code}, after)
        if status == "superseded":
            return Answer(HTTPStatus.OK, {"status": "superseded"})
        if status == "exhausted":
            return Answer(NON_RETRYABLE, {"status": "failed", "error": error.code})
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "retrying", "error": error.code}, after)


def lane_handler(lane: Lane) -> Callable[[Request], Response]:
    """Load a lane's configuration and return the function that answers it; a wrong one ends the process."""
    try:
        settings = load_lane(lane)
    except ConfigError as error:
        sys.exit(f"{lane} does not start: {error}")
    return Worker(settings).answer
