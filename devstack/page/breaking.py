"""The page's buttons for faults: each breaks one thing of the running stack, mends it, and tells the story.

    kill   a lane's worker, as `kill -9` does; a watchdog starts it again
    drop   every connection to the bridge, and each new one, for a moment
    redis  every connection to Redis, the same way
    hold   the broker delivers nothing, until it is released
    slow   the model talks slowly, until it does not
    refuse, silence   what the next call of a model meets: 429; silence in mid-answer

What lasts is mended by a thread of its own, so that a click is answered at once; `close` waits for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from devstack.page.story import Story
from devstack.processes import StackError
from devstack.stack import Stack
from shared.routing import Lane

WATCHDOG_SECONDS = 1.5
DROPPED_SECONDS = 1.5
REDIS_AWAY_SECONDS = 2.0
REFUSAL_RETRY_SECONDS = 3
SLOWER = 10.0
SILENT_AFTER_PIECES = 40
JOIN_SECONDS = 40.0
NAMES = ("kill", "drop", "redis", "hold", "slow", "refuse", "silence")
OF_THE_MODEL = frozenset({"slow", "refuse", "silence"})


class NoSuchFault(Exception):
    """There is no such fault here."""


@dataclass(slots=True)
class Breaker:
    """Breaks and mends. Any thread may call it."""

    stack: Stack
    story: Story
    has_stand_in: bool = True
    """Whether the stand-in answers: real models cannot be broken from here."""
    _down: set[Lane] = field(default_factory=set)
    _away: set[str] = field(default_factory=set)
    _slow: bool = False
    _closing: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def to_json(self) -> dict[str, Any]:
        """Return what is broken now."""
        return {
            "down": sorted(self._down),
            "away": sorted(self._away),
            "hold": self.stack.qstash.faults.hold,
            "slow": self._slow,
        }

    def cause(self, name: str, lane: str | None = None) -> None:
        """Cause a fault, or take back one that lasts.

        Raises:
            NoSuchFault: the name, or the lane, is not known.
        """
        if name not in NAMES or (name in OF_THE_MODEL and not self.has_stand_in):
            raise NoSuchFault(name)
        if name == "kill":
            if lane not in set(Lane):
                raise NoSuchFault(f"{name} {lane}")
            self._kill(Lane(lane))
        else:
            causes: dict[str, Callable[[], None]] = {
                "drop": self._drop,
                "redis": self._cut_redis,
                "hold": self._hold,
                "slow": self._slow_down,
                "refuse": self._refuse,
                "silence": self._silence,
            }
            causes[name]()

    def close(self) -> None:
        """Mend what is broken, and return when nothing is being mended any more."""
        self._closing.set()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        self.stack.qstash.faults.hold = False

    # -- processes -------------------------------------------------------------------------------------------

    def _kill(self, lane: Lane) -> None:
        with self._lock:
            if lane in self._down or self._closing.is_set():
                return
            self._down.add(lane)
        self._begin(lambda: self._kill_and_restart(lane), f"watchdog-{lane}")

    def _kill_and_restart(self, lane: Lane) -> None:
        began_at = time.monotonic()
        self.stack.kill(lane)
        self.story.tell("killed", lane=lane)
        self._closing.wait(WATCHDOG_SECONDS)
        try:
            if not self._closing.is_set():
                self.stack.restart(lane)
                self.story.tell("restarted", lane=lane, seconds=round(time.monotonic() - began_at, 1))
        except StackError:
            self.story.tell("stays_down", lane=lane)
        finally:
            self._down.discard(lane)

    # -- the network -----------------------------------------------------------------------------------------

    def _drop(self) -> None:
        front = self.stack.front("events")
        self._for_a_while("drop", DROPPED_SECONDS, front.refuse, front.resume)

    def _cut_redis(self) -> None:
        proxy = self.stack.proxy
        if proxy is None:
            raise NoSuchFault("redis")
        self._for_a_while("redis", REDIS_AWAY_SECONDS, proxy.refuse, proxy.resume)

    def _for_a_while(
        self, name: str, seconds: float, begin: Callable[[], None], end: Callable[[], None]
    ) -> None:
        with self._lock:
            if name in self._away or self._closing.is_set():
                return
            self._away.add(name)
        begin()
        self.story.tell(f"{name}_began", seconds=seconds)

        def mend() -> None:
            self._closing.wait(seconds)
            end()
            self._away.discard(name)
            self.story.tell(f"{name}_ended")

        self._begin(mend, f"mend-{name}")

    def _begin(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    # -- the broker and the models ---------------------------------------------------------------------------

    def _hold(self) -> None:
        faults = self.stack.qstash.faults
        faults.hold = not faults.hold
        self.story.tell("held" if faults.hold else "released")

    def _slow_down(self) -> None:
        with self._lock:
            self._slow = not self._slow
            pace = self.stack.llm.pace
            pace.tokens_per_second *= 1 / SLOWER if self._slow else SLOWER
        self.story.tell("slow" if self._slow else "fast")

    def _refuse(self) -> None:
        self.stack.llm.fail("status", status=429, retry_after=str(REFUSAL_RETRY_SECONDS))
        self.story.tell("refusing", seconds=REFUSAL_RETRY_SECONDS)

    def _silence(self) -> None:
        self.stack.llm.fail("silence", after_pieces=SILENT_AFTER_PIECES)
        self.story.tell("silencing")
