"""Breaks things at their times, each in a thread of its own, and mends what it broke.

What is done to processes is done one at a time: two cores start no three servers at once. A frozen instance
is woken after another has taken over, is left for a while to find out, and is then ended, as a cloud does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from devstack.processes import STOP_SECONDS, StackError
from devstack.soak.plan import Fault, FaultKind, Plan
from devstack.stack import Stack
from shared.routing import Lane

STAND_BY_SECONDS = 2.5
"""How long a new instance takes to start."""
WAKING_SECONDS = 3.0
"""How long a frozen instance lives once it has been woken: longer than a renewal and a write take."""
SLOWER = 8.0
JOIN_SECONDS = 40.0
OUTAGE_SECONDS = 1.0
"""A shorter outage of Redis costs nobody a lease of two seconds, which is renewed every third of it."""
_SWITCHES = {
    FaultKind.LOST_DELIVERY: "drop_delivery",
    FaultKind.LOST_RESPONSE: "drop_response",
    FaultKind.LOST_CALLBACK: "drop_callbacks",
    FaultKind.DOUBLED_CALLBACK: "double_callbacks",
    FaultKind.LOST_MESSAGE: "drop_publish",
}


@dataclass(slots=True)
class Happened:
    """A fault that was caused."""

    fault: Fault
    began_at: float
    """Of `time.monotonic`, as all times here."""
    ended_at: float | None = None
    problem: str = ""
    """Why it could not be caused, or mended."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """From this moment the lanes' calls of then may go on without a lease: nobody but time could renew it."""

    at: float
    lanes: frozenset[Lane]


@dataclass(slots=True)
class Injector:
    """Carries out a plan's faults until the traffic ends; `mend` leaves nothing broken."""

    stack: Stack
    plan: Plan
    ending: threading.Event
    happened: list[Happened] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)
    _processes: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def run(self, started_at: float) -> None:
        """Cause the faults at their times, counted from `started_at` of `time.monotonic`."""
        for fault in self.plan.faults:
            if self.ending.wait(max(0.0, started_at + fault.at_seconds - time.monotonic())):
                return
            thread = threading.Thread(target=self._cause, args=(fault,), name=str(fault), daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def counts(self) -> Counter[FaultKind]:
        return Counter(each.fault.kind for each in list(self.happened))

    def mend(self) -> None:
        """Wait for what is under way, and take every fault back."""
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert self.stack.proxy is not None
        self.stack.proxy.heal()
        self.stack.qstash.faults.clear()
        self.stack.llm.heal()

    def _cause(self, fault: Fault) -> None:
        cause = self._causes()[fault.kind]
        process = fault.kind in {FaultKind.KILL, FaultKind.FREEZE, FaultKind.PAUSE}
        with self._processes if process else contextlib.nullcontext():
            if process and self.ending.is_set():
                return
            happened = Happened(fault, time.monotonic())
            self.happened.append(happened)
            if _stops_renewals(fault):
                self.interruptions.append(Interruption(happened.began_at, frozenset(Lane)))
            try:
                cause(fault)
            except (OSError, RuntimeError, StackError, redis.RedisError) as error:
                happened.problem = f"{type(error).__name__}: {error}"
            happened.ended_at = time.monotonic()

    def _causes(self) -> dict[FaultKind, Callable[[Fault], Any]]:
        proxy = self.stack.proxy
        assert proxy is not None
        return {
            **dict.fromkeys(_SWITCHES, self._switch),
            FaultKind.KILL: self._kill,
            FaultKind.FREEZE: self._freeze,
            FaultKind.PAUSE: self._pause,
            FaultKind.DUPLICATE: self._duplicate,
            FaultKind.PUBLISH_UNKNOWN: self._publish_unknown,
            FaultKind.HELD: self._hold,
            FaultKind.KEY_ROTATION: lambda _: self.stack.qstash.rotate_signing_keys(),
            FaultKind.REDIS_CUT: lambda f: proxy.cut(f.target, when=_when(f), times=f.count),
            FaultKind.REDIS_LATE: lambda f: proxy.delay(
                f.target, seconds=f.seconds, when=_when(f), times=f.count
            ),
            FaultKind.REDIS_CUT_ALL: lambda _: proxy.cut_all(),
            FaultKind.REDIS_STALL: lambda f: self._for_a_while(f, proxy.stall, proxy.resume),
            FaultKind.REDIS_AWAY: lambda f: self._for_a_while(f, proxy.refuse, proxy.resume),
            FaultKind.REDIS_RESTART: lambda _: self.stack.valkey.restart(),
            FaultKind.REDIS_ERROR: lambda f: proxy.answer(f.target, f.detail, times=f.count),
            FaultKind.SCRIPTS_FLUSHED: self._flush_scripts,
            FaultKind.PROVIDER: self._provider,
            FaultKind.PROVIDER_SLOW: self._slow,
        }

    # -- processes -------------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        self.stack.kill(fault.target)
        self.ending.wait(fault.seconds)
        self.stack.restart(fault.target)

    def _freeze(self, fault: Fault) -> None:
        self.stack.stand_by(fault.target)
        self.ending.wait(STAND_BY_SECONDS)
        frozen = self.stack.freeze(fault.target)
        self.interruptions.append(Interruption(time.monotonic(), frozenset({Lane(fault.target)})))
        try:
            self.ending.wait(fault.seconds)
            self.stack.take_over(fault.target)
            self.ending.wait(fault.seconds)
        finally:
            frozen.thaw()
        self.ending.wait(WAKING_SECONDS)
        frozen.request_stop()
        frozen.wait_stopped(time.monotonic() + STOP_SECONDS)

    def _pause(self, fault: Fault) -> None:
        paused = self.stack.freeze(fault.target)
        if fault.target in set(Lane):
            self.interruptions.append(Interruption(time.monotonic(), frozenset({Lane(fault.target)})))
        self.ending.wait(fault.seconds)
        paused.thaw()

    # -- the broker ------------------------------------------------------------------------------------------

    def _switch(self, fault: Fault) -> None:
        self.stack.qstash.faults.update({_SWITCHES[fault.kind]: fault.count})

    def _duplicate(self, fault: Fault) -> None:
        self.stack.qstash.faults.update({"duplicate_mode": fault.detail, "duplicate": fault.count})

    def _publish_unknown(self, fault: Fault) -> None:
        self.stack.qstash.faults.update(
            {
                "publish_status": 500,
                "publish_status_times": fault.count,
                "publish_status_accepts": fault.detail == "accepted",
            }
        )

    def _hold(self, fault: Fault) -> None:
        self.stack.qstash.faults.hold = True
        self.ending.wait(fault.seconds)
        self.stack.qstash.faults.hold = False

    # -- Redis and the providers -----------------------------------------------------------------------------

    def _for_a_while(self, fault: Fault, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        self.ending.wait(fault.seconds)
        end()

    def _flush_scripts(self, _fault: Fault) -> None:
        with redis.Redis.from_url(self.stack.redis_url) as client:
            client.script_flush()

    def _provider(self, fault: Fault) -> None:
        facts: dict[str, Any] = {"status": 429, "retry_after": "1"} if fault.count == 1 else {"status": 500}
        self.stack.llm.fail(fault.detail, model=fault.target or None, times=fault.count, **facts)

    def _slow(self, fault: Fault) -> None:
        pace = self.stack.llm.pace
        pace.tokens_per_second /= SLOWER
        self.ending.wait(fault.seconds)
        pace.tokens_per_second *= SLOWER


def _stops_renewals(fault: Fault) -> bool:
    """Tell whether a living worker may lose its lease by this: it is from then on that the outage lasts."""
    match fault.kind:
        case FaultKind.REDIS_STALL | FaultKind.REDIS_AWAY:
            return fault.seconds >= OUTAGE_SECONDS
        case FaultKind.REDIS_LATE:
            return fault.target in {"renew_lease", ""} and fault.seconds >= OUTAGE_SECONDS / 2
        case FaultKind.REDIS_ERROR:
            return fault.target in {"renew_lease", ""}
    return False


def _when(fault: Fault) -> Any:
    return fault.detail
