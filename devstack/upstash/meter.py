"""Counts what Upstash would bill: every command, and every one that a script calls (Valkey counts those too).

A database is billed as a whole, so what reaches the same Valkey over TCP is on the bill as well.
"""

from __future__ import annotations

import re
import threading
from typing import Any

FREE = frozenset(
    ["auth", "hello", "select", "command", "config", "info", "ping", "reset", "quit", "multi", "exec"]
)
"""Not billed, says Upstash's page on billing; MULTI and EXEC are how this stand-in does `/multi-exec`."""

_LINE = re.compile(rb"^cmdstat_([^:|]+)(?:\|[^:]+)?:calls=(\d+)", re.MULTILINE)


class Meter:
    """The bill of one Valkey since the last reset."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._baseline: dict[str, int] = {}

    def read(self) -> dict[str, int]:
        """Return how often each billed command ran since the last reset."""
        now = self._calls()
        with self._lock:
            counts = {name: calls - self._baseline.get(name, 0) for name, calls in now.items()}
        return {name: count for name, count in sorted(counts.items()) if count > 0}

    def reset(self) -> None:
        now = self._calls()
        with self._lock:
            self._baseline = now

    def _calls(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for name, calls in _LINE.findall(self._redis.execute_command("INFO", "commandstats")):
            totals[name.decode()] = totals.get(name.decode(), 0) + int(calls)
        return {name: calls for name, calls in totals.items() if name not in FREE}
