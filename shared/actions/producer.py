"""The only producer: hands one step of a task to QStash.

Plain HTTP and not QStash's SDK: the SDK waits up to 600 s, re-sends after errors on its own, and its
errors carry no status. A publish carries a deduplication id, so it may be sent twice; what stays unknown
after the second try is treated as failed, and a message that arrives after all finds an ended task and
does nothing.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import httpx

from shared.actions import observing
from shared.config import ActionsSettings
from shared.errors import PublishFailed
from shared.log_lines import Fact
from shared.logs import LogEvent, event
from shared.messages import TaskMessage
from shared.routing import Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import Step

log = logging.getLogger(__name__)
TIMEOUT = httpx.Timeout(4.0, connect=2.0)
TRIES = 2
RETRY_DELAY = "min(60000, 1000 * pow(2, retried))"
"""QStash's expression, in ms; a lane's own `Retry-After` is what usually decides."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One step to publish: `n` counts the step's publishes, `has_next` tells that another step follows it."""

    ref: TaskRef
    index: int
    step: Step
    tier: Tier
    locale: str
    retries: int
    n: int
    has_next: bool
    traceparent: str | None = None
    delay_seconds: float = 0.0
    slots: int | None = None
    """How many attempts QStash lets run at once, when an operator has set it; else as configured."""


class Producer:
    """Publishes to QStash. Thread-safe; the HTTP client is built once, on first use."""

    def __init__(self, settings: ActionsSettings, client: httpx.Client | None = None) -> None:
        self._settings = settings
        self._client = client

    def publish(self, outgoing: Outgoing) -> None:
        """Hand `outgoing` to QStash.

        Raises:
            PublishFailed: QStash refused it, or whether it has it stayed unknown.
        """
        base, headers = self._settings.qstash.url, self._headers(outgoing)
        message_id = headers["Upstash-Deduplication-Id"]
        with observing.publish(outgoing.step.lane, message_id, base, outgoing.traceparent) as span:
            body = self._message(outgoing, span.traceparent or outgoing.traceparent).to_bytes()
            self._send(outgoing, f"{base}/v2/publish/{self._destination(outgoing)}", body, headers)

    def _send(self, outgoing: Outgoing, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        began, where = time.monotonic(), _facts_of(outgoing)
        for tries in range(1, TRIES + 1):
            refused = False
            try:
                answer = self._http().post(url, content=body, headers=headers)
            except httpx.HTTPError as error:
                reason = type(error).__name__
            else:
                if answer.is_success:
                    # An admission tells of its first message itself.
                    level = logging.DEBUG if (outgoing.index, outgoing.n) == (0, 1) else None
                    event(log, LogEvent.STEP_PUBLISHED, where, level=level, publish_ms=_ms_since(began))
                    return
                reason, refused = f"status_{answer.status_code}", answer.is_client_error
            event(
                log,
                LogEvent.PUBLISH_TRY_FAILED,
                where,
                error=reason,
                tries=tries,
                publish_ms=_ms_since(began),
            )
            if refused:
                break
        raise PublishFailed

    def forget_dead_letter(self, dead_letter: str) -> None:
        """Take a message out of QStash's dead-letter queue, which is for what somebody has to look at.

        Raises:
            PublishFailed: it may still be there; asking again is safe.
        """
        url = f"{self._settings.qstash.url}/v2/dlq/{quote(dead_letter, safe='')}"
        try:
            answer = self._http().delete(url, headers=self._authorization)
        except httpx.HTTPError as error:
            event(log, LogEvent.DEAD_LETTER_KEPT, error=error)
            raise PublishFailed from None
        if not answer.is_success and answer.status_code != HTTPStatus.NOT_FOUND:
            event(log, LogEvent.DEAD_LETTER_KEPT, error=f"status_{answer.status_code}")
            raise PublishFailed

    @property
    def _authorization(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._settings.qstash.token}"}

    def _http(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(timeout=TIMEOUT)
        return self._client

    def _destination(self, outgoing: Outgoing) -> str:
        lane = outgoing.step.lane
        return self._settings.lane_urls[lane] + lane.path(outgoing.step.template)

    def _message(self, outgoing: Outgoing, traceparent: str | None) -> TaskMessage:
        step = outgoing.step
        return TaskMessage(
            task_id=outgoing.ref.task_id,
            service_id=outgoing.ref.service_id,
            user_id=outgoing.ref.user_id,
            template_id=step.template,
            step=outgoing.index,
            queue_id=step.lane,
            model_id=step.model,
            tier=outgoing.tier,
            counter_key=keys.slots(step.model, outgoing.tier),
            locale="zh" if outgoing.locale == "zh" else "en",
            retries=outgoing.retries,
            enqueued_at=round(time.time() * 1000),
            traceparent=traceparent,
        )

    def _headers(self, outgoing: Outgoing) -> Mapping[str, str]:
        step, actions_url = outgoing.step, self._settings.actions_url
        slots = outgoing.slots or self._settings.concurrency.slots(step.model, outgoing.tier)
        headers = {
            **self._authorization,
            "Content-Type": "application/json",
            "Upstash-Method": "POST",
            "Upstash-Deduplication-Id": f"{outgoing.ref.task_id}.{outgoing.index}.{outgoing.n}",
            "Upstash-Retries": str(outgoing.retries),
            "Upstash-Retry-Delay": RETRY_DELAY,
            "Upstash-Flow-Control-Key": f"{step.model}.{outgoing.tier}",
            "Upstash-Flow-Control-Value": f"parallelism={slots}",
            "Upstash-Timeout": f"{math.ceil(self._settings.time.worker_timeout_seconds)}s",
            "Upstash-Failure-Callback": f"{actions_url}/callbacks/failure",
            "Upstash-Failure-Callback-Retry-Delay": RETRY_DELAY,
            "Upstash-Label": step.lane.value,
        }
        if outgoing.has_next:
            headers["Upstash-Callback"] = f"{actions_url}/callbacks/step"
            headers["Upstash-Callback-Retry-Delay"] = RETRY_DELAY
        if outgoing.delay_seconds > 0:
            headers["Upstash-Delay"] = f"{math.ceil(outgoing.delay_seconds)}s"
        return headers


def _facts_of(outgoing: Outgoing) -> dict[str, Fact]:
    return {
        "task": outgoing.ref.task_id,
        "lane": outgoing.step.lane,
        "step": outgoing.index,
        "n": outgoing.n,
        "delay_ms": round(outgoing.delay_seconds * 1000) or None,
    }


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
