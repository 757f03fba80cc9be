"""Counts what Upstash would bill: every command, and every one that a script calls (Valkey counts those too).

A database is billed as a whole, so what reaches the same Valkey over TCP is on the bill as well. What clients
sent over REST is counted beside it, by request and by command: the rest of the bill is what scripts called.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FREE = frozenset(
    ["auth", "hello", "select", "command", "config", "info", "ping", "reset", "quit", "multi", "exec"]
)
"""Not billed, says Upstash's page on billing; MULTI and EXEC are how this stand-in does `/multi-exec`."""

_LINE = re.compile(rb"^cmdstat_([^:|]+)(?:\|[^:]+)?:calls=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bill:
    """What ran since the last reset.

    Attributes:
        commands: how often each billed command ran, in a script or not.
        sent: how often clients sent each of them over REST.
        round_trips: in how many requests, whatever they asked for.
    """

    commands: Mapping[str, int]
    sent: Mapping[str, int]
    round_trips: int

    @property
    def billed(self) -> int:
        return sum(self.commands.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "billed": self.billed,
            "commands": dict(self.commands),
            "sent": dict(self.sent),
            "roundTrips": self.round_trips,
        }


class Meter:
    """The bill of one Valkey since the last reset. Thread-safe."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._baseline: Mapping[str, int] = {}
        self._sent: Counter[str] = Counter()
        self._round_trips = 0

    def note_request(self, commands: Iterable[str]) -> None:
        """Note one request and the names of the commands in it that Valkey is to run."""
        billed = [name for name in map(str.lower, commands) if name not in FREE]
        with self._lock:
            self._round_trips += 1
            self._sent.update(billed)

    def read(self) -> Bill:
        now = self._calls()
        with self._lock:
            commands = {name: calls - self._baseline.get(name, 0) for name, calls in now.items()}
            return Bill(_counted(commands), _counted(self._sent), self._round_trips)

    def reset(self) -> None:
        now = self._calls()
        with self._lock:
            self._baseline, self._sent, self._round_trips = now, Counter(), 0

    def _calls(self) -> dict[str, int]:
        return billed_calls(self._redis.execute_command("INFO", "commandstats"))


def billed_calls(commandstats: bytes) -> dict[str, int]:
    """Return how often each billed command has run, from Redis's own statistics."""
    totals: Counter[str] = Counter()
    for name, calls in _LINE.findall(commandstats):
        totals[name.decode()] += int(calls)
    return {name: calls for name, calls in totals.items() if name not in FREE}


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count > 0}
