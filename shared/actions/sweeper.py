"""Ends what nobody will end, and publishes what nobody published.

A task whose message is lost has a deadline in `tasks:open`. The next touch (a status call, an admission
of the same user, the sweep that a QStash schedule calls) looks after it; each may come twice or at once
with the others.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from shared.actions.producer import Outgoing, Producer
from shared.errors import PublishFailed
from shared.logs import LogEvent, event
from shared.routing import Tier
from shared.state.keys import TaskRef
from shared.state.lifecycle import Step
from shared.state.tasks import Tasks
from shared.telemetry.attributes import Attribute
from shared.telemetry.ends import task_failed
from shared.telemetry.instruments import SWEPT
from shared.telemetry.signals import signals

log = logging.getLogger(__name__)


def ref_of(record: Mapping[str, Any]) -> TaskRef:
    return TaskRef(record["taskId"], record["serviceId"], record["userId"])


def steps_of(record: Mapping[str, Any]) -> list[Step]:
    return [Step.from_record(step) for step in json.loads(record["steps"])]


def outgoing_of(record: Mapping[str, Any], n: int, *, delay_seconds: float = 0.0) -> Outgoing:
    """Return the message of the step that a record is at."""
    steps, index = steps_of(record), int(record["step"])
    return Outgoing(
        ref=ref_of(record),
        index=index,
        step=steps[index],
        tier=Tier(record["tier"]),
        locale=record["locale"],
        retries=int(record["retries"]),
        n=n,
        has_next=index + 1 < len(steps),
        traceparent=record.get("traceparent") or None,
        delay_seconds=delay_seconds,
        slots=record.get("slots"),
    )


class Sweeper:
    """Looks after overdue tasks."""

    def __init__(self, tasks: Tasks, producer: Producer) -> None:
        self._tasks = tasks
        self._producer = producer

    def publish_step(self, record: Mapping[str, Any]) -> bool:
        """Publish the step that a record is at, unless its message is out; tell whether it was published.

        Raises:
            PublishFailed: call again later; the number of the message stays the same.
        """
        ref, index = ref_of(record), int(record["step"])
        n = self._tasks.begin_publish(ref, index)
        if n == 0:
            return False
        self._producer.publish(outgoing_of(record, n))
        self._tasks.confirm_publish(ref, index, n)
        return True

    def sweep_task(self, task_id: str) -> str:
        """Look after one task; returns what became of it (see `Tasks.sweep`)."""
        record = self._tasks.read(task_id)
        if record is None:
            self._tasks.forget(task_id)
            return "gone"
        step = steps_of(record)[int(record["step"])]
        tier = Tier(record["tier"])
        outcome = self._tasks.sweep(ref_of(record), step=step, tier=tier)
        signals().add(SWEPT, attributes={Attribute.OUTCOME: outcome})
        if outcome == "publish":
            self.publish_step(record)
        if outcome in {"lost", "wait_timeout"}:
            index = int(record["step"])
            event(log, LogEvent.TASK_SWEPT, task=task_id, lane=step.lane, step=index, outcome=outcome)
            task_failed(outcome, tier)
        return outcome

    def touch(self, task_id: str) -> str:
        """Look after one task on the way to something else, which a failing publish must not stop."""
        try:
            return self.sweep_task(task_id)
        except PublishFailed as error:
            event(log, LogEvent.TOUCH_UNPUBLISHED, error=error, task=task_id)
            return "unpublished"

    def sweep(self, limit: int = 500) -> dict[str, int]:
        """Look after all overdue tasks, `limit` at most; returns how many came to what.

        Raises:
            PublishFailed: all have been looked after, but some could not be published: call again.
        """
        outcomes = Counter(self.touch(task_id) for task_id in self._tasks.overdue(limit))
        if outcomes["unpublished"]:
            raise PublishFailed
        return dict(outcomes)
