"""What QStash calls back: a step is done, a message was given up on, it is time to sweep.

Each decides from the task's record, so that it may come twice, late, or out of order. It answers 5xx when
it could not do its work, and QStash calls again.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.actions import observing
from shared.actions.images import Images
from shared.actions.producer import Producer
from shared.actions.sweeper import Sweeper, outgoing_of, ref_of, steps_of
from shared.errors import NON_RETRYABLE, MessageError
from shared.logs import LogEvent, event
from shared.messages import TaskMessage, parse_message
from shared.routing import Tier
from shared.state.lifecycle import State
from shared.state.tasks import Tasks
from shared.telemetry.ends import task_failed
from shared.telemetry.signals import Span

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Callback:
    """What QStash reports of a delivery: the message it carried, and how it was answered."""

    message: TaskMessage
    message_id: str
    status: int
    dead_letter: str | None = None
    """The message's id in the dead-letter queue, in a failure callback."""


def parse_callback(body: bytes) -> Callback:
    """Parse a callback's body.

    Raises:
        MessageError: it is none that we can ever understand.
    """
    try:
        data = json.loads(body)
        source = base64.b64decode(data["sourceBody"])
        return Callback(
            parse_message(source),
            str(data["sourceMessageId"]),
            int(data.get("status", 0)),
            str(data["dlqId"]) if data.get("dlqId") else None,
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise MessageError(f"not a callback: {type(error).__name__}") from None


class Callbacks:
    """The three callbacks."""

    def __init__(
        self,
        tasks: Tasks,
        producer: Producer,
        sweeper: Sweeper,
        images: Images,
        keep_books: Callable[[], int],
    ) -> None:
        """Take what they need; `keep_books` is done with every sweep."""
        self._tasks = tasks
        self._producer = producer
        self._sweeper = sweeper
        self._images = images
        self._keep_books = keep_books

    def step(self, body: bytes) -> dict[str, Any]:
        """Publish the next step of a task whose step before is done; never both at once (D17)."""
        callback = parse_callback(body)
        with observing.callback("step", callback.message) as span:
            return self._step(callback, span)

    def _step(self, callback: Callback, span: Span) -> dict[str, Any]:
        record = self._tasks.read(callback.message.task_id)
        self._images.forget_read(record)
        if not _at_later_step(record, callback.message.step):
            observing.decided("/callbacks/step", span, "nothing_to_do")
            return {"status": "nothing_to_do"}
        published = self._sweeper.publish_step(record or {})
        status = "published" if published else "nothing_to_do"
        observing.decided("/callbacks/step", span, status)
        _tell("step", callback, status, level=logging.DEBUG)  # what was published tells of itself
        return {"status": status}

    def failure(self, body: bytes) -> dict[str, Any]:
        """Decide what becomes of a task whose message QStash gave up on: nothing, a new one, or its end.

        A message that only waited, or whose task has a newer one, is no dead letter: it is taken out of
        QStash's queue of those (D12).
        """
        callback = parse_callback(body)
        with observing.callback("failure", callback.message) as span:
            status = self._after_failure(callback)
            observing.decided("/callbacks/failure", span, status)
            waited = callback.status == HTTPStatus.TOO_MANY_REQUESTS
            if callback.dead_letter and (waited or status in {"publish", "published"}):
                self._producer.forget_dead_letter(callback.dead_letter)
        _tell("failure", callback, status)
        return {"status": status}

    def _after_failure(self, callback: Callback) -> str:
        record, index = self._tasks.read(callback.message.task_id), callback.message.step
        if record is None or State(record["state"]).ended or int(record["step"]) != index:
            self._images.forget_read(record)
            return "ended"
        decision = self._tasks.requeue(
            ref_of(record),
            step=steps_of(record)[index],
            index=index,
            tier=Tier(record["tier"]),
            message_id=callback.message_id,
            refused=callback.status == NON_RETRYABLE,
        )
        if decision.status == "publish":
            limited = {**record, "slots": decision.slots}
            self._producer.publish(outgoing_of(limited, decision.n, delay_seconds=decision.delay_seconds))
            self._tasks.confirm_publish(ref_of(record), index, decision.n)
        if decision.status == "failed":
            task_failed(decision.code, Tier(record["tier"]))
        if decision.status == "ended":
            self._images.forget_read(self._tasks.read(callback.message.task_id))
        return decision.status

    def sweep(self) -> dict[str, Any]:
        """End or publish whatever is overdue, delete the images that nobody will read, and add up.

        Raises:
            PublishFailed: all of it has been done, but some could not be published: call again.
        """
        began = time.monotonic()
        with observing.sweep() as span:
            try:
                outcomes, images = self._sweeper.sweep(), self._images.sweep()
            finally:
                self._keep_books()
            observing.decided("/callbacks/sweep", span, "swept")
        event(
            log,
            LogEvent.SWEPT,
            level=None if outcomes or images else logging.DEBUG,
            ended=sum(outcomes.get(ended, 0) for ended in ("lost", "wait_timeout")),
            published=outcomes.get("publish", 0),
            images=images,
            sweep_ms=round((time.monotonic() - began) * 1000),
        )
        return {"status": "swept", "outcomes": outcomes, "images": images}


def _at_later_step(record: Mapping[str, Any] | None, step: int) -> bool:
    return record is not None and int(record["step"]) > step and record["state"] == State.QUEUED


def _tell(name: str, callback: Callback, decision: str, level: int | None = None) -> None:
    event(
        log,
        LogEvent.CALLBACK_DECIDED,
        level=level,
        task=callback.message.task_id,
        lane=callback.message.queue_id,
        step=callback.message.step,
        callback=name,
        decision=decision,
        delivery_status=callback.status,
    )
