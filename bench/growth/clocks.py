"""What something cost: Redis's own time in scripts, commands that it ran, this process's processor time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.state.store import TcpStore

_STAT = re.compile(r"^cmdstat_(?P<name>[^:]+):calls=(?P<calls>\d+),usec=(?P<usec>\d+)", re.MULTILINE)
_SCRIPTS = ("evalsha", "eval")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call of an operation, on average."""

    script_us: float
    """In Redis, all that the scripts call included."""
    commands: float
    cpu_us: float
    """Of this process."""


def cost_of(store: TcpStore, operation: Callable[[], object], times: int = 1) -> Cost:
    """Run an operation so many times and return what one of them cost."""
    usec, calls = _read(store)
    started = time.process_time()
    for _ in range(times):
        operation()
    cpu_seconds = time.process_time() - started
    usec_after, calls_after = _read(store)
    return Cost(
        script_us=(usec_after - usec) / times,
        commands=(calls_after - calls) / times,
        cpu_us=cpu_seconds * 1e6 / times,
    )


def _read(store: TcpStore) -> tuple[int, int]:
    stats = list(_STAT.finditer(store.command("INFO", "commandstats")))
    usec = sum(int(stat["usec"]) for stat in stats if stat["name"] in _SCRIPTS)
    calls = sum(int(stat["calls"]) for stat in stats if stat["name"] != "info")
    return usec, calls
