"""QStash's time, which passes faster than ours: a scale of 0.01 makes a wait of 12 s take 0.12 s.

What is scaled: delays, back-off, rate periods, schedules. What is not: the time-out of a delivery and the
deduplication window, because the code on the other end lives in real time.
"""

from __future__ import annotations

import asyncio
import time


class Clock:
    def __init__(self, time_scale: float) -> None:
        if not time_scale > 0:
            raise ValueError("the time scale must be above 0")
        self.time_scale = time_scale
        self._started_seconds = time.time()

    def now_ms(self) -> int:
        """Return the real time; what signatures and messages are stamped with."""
        return round(time.time() * 1000)

    def virtual_seconds(self) -> float:
        """Return the time on QStash's own clock, which equals ours at the start; what schedules follow."""
        return self._started_seconds + (time.time() - self._started_seconds) / self.time_scale

    def scaled(self, seconds: float) -> float:
        return seconds * self.time_scale

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self.scaled(seconds))
