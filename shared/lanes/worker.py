"""One delivery, from start to answer: guard, claim, run, finish.

    checks ─▶ claim_task ─▶ model ═▶ events ─▶ finish_task ─▶ 200
                 │ 429 / 200 / 489      │ release_attempt 503, fail_task 489, superseded 200

The answer tells QStash what to do next and nothing else; what the user sees is in the event stream. A worker
decides no tier, no queue and no model: the message says them and the record confirms them (D7, D8).
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

from flask import Request, Response

from shared.bodies import skip_body
from shared.config import LaneSettings
from shared.errors import (
    NON_RETRYABLE,
    AttemptLost,
    MessageError,
    PermanentTaskError,
    RetryableTaskError,
    SignatureError,
    SluiceError,
    StoreUnavailable,
)
from shared.lanes import observing
from shared.lanes.guards import check_delivery
from shared.lanes.keeper import Keeper
from shared.lanes.materials import gather, result_of
from shared.llm.runner import Outcome, StopSignal, TemplateCall, run_template, warm
from shared.logs import LogEvent, also, bind, event, request_facts, trace_facts
from shared.messages import Probe, TaskMessage
from shared.routing import templates_of
from shared.state.blobs import BlobStore
from shared.state.keys import TaskRef, events
from shared.state.lifecycle import Attempt, Claim, Step
from shared.state.store import Store, open_store
from shared.state.tasks import Tasks
from shared.stream.events import Thinking
from shared.stream.publisher import AttemptWriter
from shared.telemetry.signals import signals
from shared.telemetry.spans import CLAIM, FAIL, FINISH, RELEASE

log = logging.getLogger(__name__)


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
    "lane_stopped": HTTPStatus.TOO_MANY_REQUESTS,
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
        return signals().watched(open_store(self.settings.redis))

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

    def warm(self) -> None:
        """Load what the first task would wait for, and connect to nobody: an idle lane is silent."""
        _ = self.store
        warm(templates_of(self.settings.lane)[0])

    def answer(self, request: Request) -> Response:
        """Answer one delivery; never raises, never redirects."""
        began = time.monotonic()
        with bind(lane=self.settings.lane, **request_facts(request.headers.get)):
            try:
                answer = self._deliver(request)
            except SluiceError as error:
                answer = _refusal(error)
            except Exception as error:  # noqa: BLE001 - the handler's edge; told with its stack
                event(log, LogEvent.DELIVERY_FAILED, error=error, traced=True)
                answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "internal"}, 5)
        observing.request(self.settings, request.method, request.path, answer.status, began)
        skip_body(request)
        return answer.to_response()

    def _deliver(self, request: Request) -> Answer:
        s, began_ns = self.settings, time.time_ns()
        message = check_delivery(request, lane=s.lane, route_url=s.route_url, keys=s.signing_keys)
        if isinstance(message, Probe):
            self.store.command("PING")
            return Answer(HTTPStatus.OK, message.answer(s.lane))
        also(task=message.task_id, step=message.step, **trace_facts(message.traceparent))
        event(log, LogEvent.DELIVERY_RECEIVED, template=message.template_id)
        with observing.delivery(message, request.headers.get("Upstash-Message-Id"), began_ns) as tell:
            answer = self._attend(message)
            tell(answer.status, answer.body)
        return answer

    def _attend(self, message: TaskMessage) -> Answer:
        """Claim an attempt and run it, or say why there is none."""
        began = time.monotonic()
        claim = self._claim(message)
        if claim.attempt is None:
            return self._refused(claim)
        also(attempt=claim.attempt.number)
        event(
            log,
            LogEvent.STEP_CLAIMED,
            template=message.template_id,
            model=message.model_id,
            waited_ms=max(0, round(time.time() * 1000) - message.enqueued_at),
            claim_ms=_ms_since(began),
        )
        slots = self.settings.concurrency.slots(claim.attempt.model, claim.attempt.tier)
        with observing.attempt(claim.attempt, slots) as tell:
            answer = self._run_attempt(message, claim.attempt)
            tell(answer.status, answer.body)
        return answer

    def _claim(self, message: TaskMessage) -> Claim:
        with signals().span(CLAIM) as span:
            claim = self.tasks.claim(
                TaskRef(message.task_id, message.service_id, message.user_id),
                step=message.step,
                at=Step(message.template_id, message.queue_id, message.model_id, 0),
                tier=message.tier,
                nonce=uuid.uuid4().hex,
            )
            observing.claim(span, message, claim)
        return claim

    @staticmethod
    def _refused(claim: Claim) -> Answer:
        status = _CLAIM_STATUS[claim.status]
        if claim.status in {"unknown", "mismatch"}:
            raise MessageError(f"the task's record does not agree: {claim.status}")
        after = claim.retry_after_seconds
        event(log, LogEvent.CLAIM_REFUSED, decision=claim.status, retry_after_seconds=after)
        return Answer(status, {"status": claim.status}, claim.retry_after_seconds)

    def _run_attempt(self, message: TaskMessage, attempt: Attempt) -> Answer:
        """Run a claimed attempt to one of its ends; its slot is given back, or its lease lapses."""
        began = time.monotonic()
        cause: Exception
        try:
            return self._produce(message, attempt)
        except PermanentTaskError as error:
            cause, answer = error, self._fail(attempt, error)
        except RetryableTaskError as error:
            cause, answer = error, self._try_later(message, attempt, error)
        except AttemptLost:
            # Nearly always superseded; but a lapsed lease whose slot went to others leaves the task ours.
            cause = RetryableTaskError("lease_lost", "The attempt lost its lease.")
            answer = self._release(attempt, cause)
        except StoreUnavailable as error:
            cause = RetryableTaskError(error.code, str(StoreUnavailable()))
            answer = self._release(attempt, cause)
        except Exception as error:  # noqa: BLE001 - the attempt's edge; told with its stack
            cause = error
            answer = self._release(attempt, RetryableTaskError("internal", "Something went wrong here."))
        _tell_end(answer, cause, began)
        return answer

    def _produce(self, message: TaskMessage, attempt: Attempt) -> Answer:
        """Run the model while the lease is kept, then finish; raises what ended the attempt instead."""
        stop, started = StopSignal(), time.monotonic()
        keeper = Keeper(
            self.tasks,
            attempt,
            stop,
            lease_seconds=self.settings.time.lease_seconds,
            run_seconds=self.run_seconds,
        )
        with keeper, self._writer(attempt) as writer, observing.written(writer):
            outcome = self._call_model(self._template_call(message, attempt), attempt, stop, writer)
            writer.drain()
            latency_ms = _ms_since(started)
            observing.first_token(attempt, outcome.first_token_ms)
            with observing.ending(FINISH) as came_to:
                finished = result_of(message.template_id, attempt, outcome, latency_ms)
                status = came_to(self.tasks.finish(attempt, finished))
        _tell_finish(status, outcome, started, latency_ms)
        return Answer(HTTPStatus.OK, {"status": "done" if status == "step_done" else status})

    def _writer(self, attempt: Attempt) -> AttemptWriter:
        return AttemptWriter(
            self.store,
            events(attempt.ref.user_id, attempt.ref.service_id, attempt.ref.task_id),
            task_id=attempt.ref.task_id,
            step=attempt.step,
            attempt=attempt.number,
            epoch_ms=int(attempt.epoch),
            settings=self.settings.stream,
        )

    def _template_call(self, message: TaskMessage, attempt: Attempt) -> TemplateCall:
        return TemplateCall(
            template=message.template_id,
            model=attempt.model,
            locale="zh" if attempt.locale == "zh" else "en",
            inputs=gather(message.template_id, attempt, self.store, self.blobs),
            today=dt.datetime.now(dt.UTC).date(),
        )

    def _call_model(
        self, call: TemplateCall, attempt: Attempt, stop: StopSignal, writer: AttemptWriter
    ) -> Outcome:
        return self.run(
            call,
            provider=self.settings.providers[attempt.model.provider],
            stop=stop,
            on_text=writer.token,
            on_thinking=lambda: writer.event(Thinking(step=attempt.step, offset=writer.text_length)),
            idle_seconds=min(self.settings.model_idle_seconds, self.run_seconds),
        )

    def _try_later(self, message: TaskMessage, attempt: Attempt, error: RetryableTaskError) -> Answer:
        """Give the attempt back; a provider that is away for longer than a task may wait ends it instead."""
        budget = self.settings.time.max_wait_seconds(streams=message.template_id.streams)
        if (error.retry_after_seconds or 0) > budget:
            final = PermanentTaskError(error.code, str(error))
            final.usage = error.usage
            return self._fail(attempt, final)
        return self._release(attempt, error)

    def _fail(self, attempt: Attempt, error: PermanentTaskError) -> Answer:
        with observing.ending(FAIL) as came_to:
            status = came_to(self.tasks.fail(attempt, code=error.code, message=str(error), usage=error.usage))
        if status != "failed":
            return Answer(HTTPStatus.OK, {"status": "superseded"})
        return Answer(NON_RETRYABLE, {"status": "failed", "error": error.code})

    def _release(self, attempt: Attempt, error: RetryableTaskError) -> Answer:
        """Give the attempt back. With Redis away too, its lease lapses, and no delivery is to come before."""
        after = error.retry_after_seconds or min(30, 2**attempt.number)
        try:
            with observing.ending(RELEASE) as came_to:
                status = came_to(
                    self.tasks.release(
                        attempt,
                        code=error.code,
                        message=str(error),
                        retry_after_seconds=after,
                        usage=error.usage,
                    )
                )
        except StoreUnavailable:
            after = max(after, math.ceil(self.settings.time.lease_seconds))
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.code}, after)
        if status == "superseded":
            return Answer(HTTPStatus.OK, {"status": "superseded"})
        if status == "exhausted":
            return Answer(NON_RETRYABLE, {"status": "failed", "error": error.code})
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "retrying", "error": error.code}, after)


def _refusal(error: SluiceError) -> Answer:
    """Say why a delivery is not taken; what a signature check found is for the log."""
    if isinstance(error, SignatureError):
        event(log, LogEvent.SIGNATURE_REFUSED, error=error)
        return Answer(error.status, {"error": error.code})
    after = error.retry_after_seconds
    if isinstance(error, MessageError):
        event(log, LogEvent.MESSAGE_REFUSED, error=error)
    elif error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        event(log, LogEvent.REQUEST_UNAVAILABLE, error=error, status=error.status, retry_after_seconds=after)
    else:
        event(log, LogEvent.REQUEST_REFUSED, error=error, status=error.status)
    return Answer(error.status, {"error": error.code, "message": str(error)}, after)


def _tell_finish(status: str, outcome: Outcome, started: float, latency_ms: int) -> None:
    run_ms = _ms_since(started)
    if status == "superseded":
        event(log, LogEvent.ATTEMPT_SUPERSEDED, run_ms=run_ms)
        return
    event(
        log,
        LogEvent.STEP_FINISHED,
        decision=status,
        ttft_ms=outcome.first_token_ms,
        run_ms=run_ms,
        finish_ms=run_ms - latency_ms,
        tokens_in=outcome.usage.get("promptTokens"),
        tokens_out=outcome.usage.get("completionTokens"),
    )


def _tell_end(answer: Answer, cause: Exception, began: float) -> None:
    """Tell how an attempt ended that did not finish, and why: one line, whatever became of it."""
    status, run_ms = answer.body.get("status", "left_to_its_lease"), _ms_since(began)
    if not isinstance(cause, SluiceError):
        what = LogEvent.ATTEMPT_BROKE
    elif status == "superseded":
        event(log, LogEvent.ATTEMPT_SUPERSEDED, run_ms=run_ms)
        return
    else:
        what = LogEvent.ATTEMPT_FAILED if status == "failed" else LogEvent.ATTEMPT_RELEASED
    event(
        log,
        what,
        error=cause,
        traced=what is LogEvent.ATTEMPT_BROKE,
        decision=status,
        retry_after_seconds=answer.retry_after_seconds,
        run_ms=run_ms,
    )


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
