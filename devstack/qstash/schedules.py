"""Schedules: a message published again at each minute that its cron expression names, on QStash's clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from devstack.qstash.broker import Broker
from devstack.qstash.cron import Cron, parse_cron
from devstack.qstash.instructions import Instructions
from devstack.qstash.message import Json, text_or_base64


@dataclass(slots=True)
class Schedule:
    id: str
    url: str
    expression: str
    body: bytes
    instructions: Instructions
    created_at_ms: int
    queue: str | None = None
    paused: bool = False
    last_ms: int | None = None
    next_ms: int | None = None
    cron: Cron = field(init=False)

    def __post_init__(self) -> None:
        self.cron = parse_cron(self.expression)

    def as_json(self) -> Json:
        shown = {
            "scheduleId": self.id,
            "destination": self.url,
            "cron": self.expression,
            "createdAt": self.created_at_ms,
            "retries": self.instructions.retries,
            "delay": round(self.instructions.delay_seconds),
            "timeout": round(self.instructions.timeout_seconds),
            "isPaused": self.paused,
            "queueName": self.queue,
            "lastScheduleTime": self.last_ms,
            "nextScheduleTime": self.next_ms,
        }
        present = {name: value for name, value in shown.items() if value is not None}
        return self.instructions.as_json() | present | text_or_base64("body", self.body)


class Schedules(dict[str, Schedule]):
    """Schedules by id, each fired by a task of its own. Belongs to the broker's event loop."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self._broker = broker
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks.values())
        for schedule_id in list(self):
            self.remove(schedule_id)
        await asyncio.gather(*tasks, return_exceptions=True)

    def put(self, schedule: Schedule) -> None:
        """Create `schedule`, or replace the one with its id."""
        self.remove(schedule.id)
        self[schedule.id] = schedule
        self._tasks[schedule.id] = asyncio.create_task(self._fire_for_ever(schedule))

    def remove(self, schedule_id: str) -> bool:
        """Delete a schedule; False when there is none."""
        task = self._tasks.pop(schedule_id, None)
        if task is not None:
            task.cancel()
        return self.pop(schedule_id, None) is not None

    async def _fire_for_ever(self, schedule: Schedule) -> None:
        clock = self._broker.clock
        due = clock.virtual_seconds()
        while True:
            # Never the same minute twice, also when the sleep ended a little early.
            due = schedule.cron.next_after(max(due, clock.virtual_seconds()))
            wait_seconds = due - clock.virtual_seconds()
            schedule.next_ms = clock.now_ms() + round(clock.scaled(wait_seconds) * 1000)
            await clock.sleep(max(0.0, wait_seconds))
            if not schedule.paused:
                self._fire(schedule)

    def _fire(self, schedule: Schedule) -> None:
        schedule.last_ms = self._broker.clock.now_ms()
        facts = {"schedule_id": schedule.id, "queue": schedule.queue}
        self._broker.publish(self._broker.draft(schedule.url, schedule.body, schedule.instructions, **facts))
