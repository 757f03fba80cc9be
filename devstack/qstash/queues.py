"""QStash's queues: messages run in order, each to its end with all its retries, `parallelism` at a time."""

from __future__ import annotations

import re

from devstack.qstash.clock import Clock
from devstack.qstash.flow import FlowControl, FlowGate
from devstack.qstash.message import Json


class Queue:
    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.gate = FlowGate(name, clock)
        self.gate.configure(FlowControl(name, parallelism=1))
        self._clock = clock
        self._created_at_ms = self._updated_at_ms = clock.now_ms()

    def configure(self, parallelism: int, *, paused: bool) -> None:
        self.gate.paused = paused
        self._updated_at_ms = self._clock.now_ms()
        self.gate.configure(FlowControl(self.name, parallelism=parallelism))

    def as_json(self) -> Json:
        return {
            "name": self.name,
            "createdAt": self._created_at_ms,
            "updatedAt": self._updated_at_ms,
            "parallelism": self.gate.control.parallelism,
            "lag": self.gate.waiting + self.gate.in_flight,
            "paused": self.gate.paused,
        }


class Queues(dict[str, Queue]):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def get_or_create(self, name: str) -> Queue:
        """Return the queue `name`, made on first use.

        Raises:
            ValueError: a queue cannot have this name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError("queue name must match [A-Za-z0-9_.-]+")
        if name not in self:
            self[name] = Queue(name, self._clock)
        return self[name]
