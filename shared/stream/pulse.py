"""The one clock of a process: tells every connection the time, for heartbeats, rotation and slow readers.

A timer for each connection would be set anew at every write; a look at all of them, a few at a time, costs
less and holds up nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

MAX_INTERVAL_SECONDS = 1.0
AT_ONCE = 50


class Ticking(Protocol):
    def tick(self, now: float) -> None:
        """Do what is due at `now`, of the monotonic clock; must not block."""


class Pulse:
    """Beats as long as there is anybody to tell.

    Args:
        members: who is told; changed by others at any time.
        finest_seconds: the shortest of the times that members wait for.
        beats: called once a beat, after all were told.
    """

    def __init__(
        self, members: Collection[Ticking], *, finest_seconds: float, beats: Sequence[Callable[[], None]]
    ) -> None:
        self._members = members
        self._beats = beats
        self._interval_seconds = min(MAX_INTERVAL_SECONDS, finest_seconds / 4)
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._members:
            await asyncio.sleep(self._interval_seconds)
            told = list(self._members)
            for begin in range(0, len(told), AT_ONCE):
                now = time.monotonic()
                for member in told[begin : begin + AT_ONCE]:
                    member.tick(now)
                await asyncio.sleep(0)
            for beat in self._beats:
                beat()
