"""Flow control: for each key a first-in, first-out wait list, a parallelism, a rate.

A message holds its place only while it is being delivered: one that waits for its retry holds none, and
joins the end of the wait list again. The values of the latest message of a key hold for all of it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from devstack.qstash.clock import Clock
from devstack.qstash.durations import parse_duration_seconds

WEEK_SECONDS = 7 * 86_400.0
_VALUE_ERROR = (
    "Upstash-Flow-Control-Value should be either rate=X or parallelism=Y, or both as comma-separated values"
)


@dataclass(frozen=True, slots=True)
class FlowControl:
    """What a publisher asks for; no parallelism and no rate means no bound."""

    key: str
    parallelism: int | None = None
    rate: int | None = None
    period_seconds: float = 1.0


def parse_flow_control(key: str, value: str) -> FlowControl:
    """Parse `Upstash-Flow-Control-Key` and `-Value`.

    Raises:
        ValueError: with QStash's own words.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.:-]+", key):
        raise ValueError("Upstash-Flow-Control-Key is not valid")
    parts = dict(part.strip().partition("=")[::2] for part in value.split(","))
    if not parts.keys() <= {"parallelism", "rate", "period"} or not parts.keys() & {"parallelism", "rate"}:
        raise ValueError(_VALUE_ERROR)
    period_seconds = parse_duration_seconds(parts.get("period", "1s"))
    if not 0 < period_seconds <= WEEK_SECONDS:
        raise ValueError("the period of a flow control must be above 0 and at most a week")
    return FlowControl(key, _bound(parts, "parallelism"), _bound(parts, "rate"), period_seconds)


def _bound(parts: dict[str, str], name: str) -> int | None:
    if name not in parts:
        return None
    if not parts[name].isascii() or not parts[name].isdigit() or int(parts[name]) < 1:
        raise ValueError(_VALUE_ERROR)
    return int(parts[name])


class FlowGate:
    """One key's gate. Belongs to the broker's event loop."""

    def __init__(self, key: str, clock: Clock) -> None:
        self.control = FlowControl(key)
        self.in_flight = self.peak_in_flight = 0
        self.paused = False
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._period_started_seconds = 0.0
        self._started_in_period = 0
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(not ticket.done() for ticket in self._waiting)

    def configure(self, control: FlowControl) -> None:
        self.control = control
        self.admit()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place in flight, hold it, give it back."""
        await self._enter()
        try:
            yield
        finally:
            self.in_flight -= 1
            self.admit()

    async def _enter(self) -> None:
        ticket = asyncio.get_running_loop().create_future()
        self._waiting.append(ticket)
        self.admit()
        try:
            await ticket
        except asyncio.CancelledError:
            if not ticket.cancelled():  # let in at the very moment of its cancellation
                self.in_flight -= 1
            self.admit()
            raise

    def admit(self) -> None:
        """Let in whoever may go now, in order."""
        while self._drop_cancelled() and not self.paused and self._has_room() and self._within_rate():
            self._started_in_period += 1
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            self._waiting.popleft().set_result(None)

    def _drop_cancelled(self) -> int:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return len(self._waiting)

    def _has_room(self) -> bool:
        return self.control.parallelism is None or self.in_flight < self.control.parallelism

    def _within_rate(self) -> bool:
        if self.control.rate is None:
            return True
        now = asyncio.get_running_loop().time()
        ends = self._period_started_seconds + self._clock.scaled(self.control.period_seconds)
        if now >= ends:
            self._period_started_seconds, self._started_in_period = now, 0
        if self._started_in_period < self.control.rate:
            return True
        self._wake_at(ends)
        return False

    def _wake_at(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(seconds, self.admit)

    def as_json(self) -> dict[str, Any]:
        return {
            "flowControlKey": self.control.key,
            "waitListSize": self.waiting,
            "parallelismMax": self.control.parallelism or 0,
            "parallelismCount": self.in_flight,
            "rateMax": self.control.rate or 0,
            "rateCount": self._started_in_period if self.control.rate else 0,
            "ratePeriod": round(self.control.period_seconds),
            "isPaused": self.paused,
            "isPinnedParallelism": False,
            "isPinnedRate": False,
        }


class FlowGates(dict[str, FlowGate]):
    """All gates by key, made on first use. The empty key is for messages without flow control."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def __missing__(self, key: str) -> FlowGate:
        gate = self[key] = FlowGate(key, self._clock)
        return gate
