"""Looks on while everything runs: who holds leases, how full the queues are, how much memory a process has.

What it sees of Redis it reads in one round trip, by Redis's clock, past the proxy: a holder counts from its
claim until its lease lapses.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.sampling import SamplingThread
from devstack.stack import Stack
from shared.errors import StoreUnavailable
from shared.routing import ROUTES, Lane, Model, Tier
from shared.state import keys

SAMPLE_SECONDS = 0.1
MEMORY_EVERY = 10
"""Samples of Redis for one of memory."""
PAIRS = tuple(sorted({(route.model, tier) for (_, tier), route in ROUTES.items()}))
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MemorySample:
    """What one function's processes have, together."""

    at: float
    """Of `time.monotonic`."""
    pid: int
    mib: float


@dataclass(slots=True)
class Seen:
    """Peaks and samples of a run."""

    samples: int = 0
    leases: dict[tuple[Model, Tier], int] = field(default_factory=dict)
    places: dict[Lane, int] = field(default_factory=dict)
    active: int = 0
    open_tasks: int = 0
    """Now, not at its peak."""
    memory: dict[str, list[MemorySample]] = field(default_factory=lambda: defaultdict(list))

    def note(
        self, leases: Sequence[int], places: Sequence[int], active: Sequence[int], open_tasks: int
    ) -> None:
        self.samples += 1
        for pair, used in zip(PAIRS, leases, strict=True):
            self.leases[pair] = max(self.leases.get(pair, 0), used)
        for lane, used in zip(Lane, places, strict=True):
            self.places[lane] = max(self.places.get(lane, 0), used)
        self.active = max(self.active, *active)
        self.open_tasks = open_tasks


class Watch(SamplingThread):
    """Samples in a thread while the context is open."""

    def __init__(self, stack: Stack, users: Sequence[str]) -> None:
        super().__init__("watch")
        self.seen = Seen()
        self._stack = stack
        self._users = users

    def sample(self) -> None:
        turn = 0
        with contextlib.closing(self._stack.open_store()) as store:
            while not self.over.wait(SAMPLE_SECONDS):
                with contextlib.suppress(StoreUnavailable):
                    self._sample(store.pipeline(self._commands()))
                if turn % MEMORY_EVERY == 0:
                    self._sample_memory()
                turn += 1

    def _commands(self) -> list[tuple[Any, ...]]:
        return [
            ("TIME",),
            *(("ZRANGE", keys.slots(*pair), 0, -1, "WITHSCORES") for pair in PAIRS),
            *(("ZCARD", keys.queue(lane)) for lane in Lane),
            ("ZCARD", keys.OPEN_TASKS),
            *(("SCARD", keys.active(user)) for user in self._users),
        ]

    def _sample(self, answers: list[Any]) -> None:
        (seconds, micros), *answers = answers
        now_ms = int(seconds) * 1000 + int(micros) / 1000
        holders, answers = answers[: len(PAIRS)], answers[len(PAIRS) :]
        places, (open_tasks, *active) = answers[: len(Lane)], answers[len(Lane) :]
        self.seen.note([live_leases(each, now_ms) for each in holders], places, active, open_tasks)

    def _sample_memory(self) -> None:
        now, groups = time.monotonic(), memory_by_group()
        for name in self._stack.functions:
            pid = self._stack.pid(name)
            if pid in groups:
                self.seen.memory[name].append(MemorySample(now, pid, groups[pid] / MIB))


def live_leases(answer: Sequence[Any], now_ms: float) -> int:
    """Return how many holders of a slots' set count, from `ZRANGE … WITHSCORES`."""
    scores = [pair[1] for pair in answer] if answer and isinstance(answer[0], list | tuple) else answer[1::2]
    return sum(float(score) > now_ms for score in scores)


def memory_by_group() -> dict[int, int]:
    """Return the resident bytes of every process group of this machine."""
    groups: dict[int, int] = defaultdict(int)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            groups[int(fields[2])] += int(fields[21]) * _PAGE_BYTES
    return groups


def established(port: int) -> int:
    """Return how many connections to a port of this machine are open, counted at its own end."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [row.split() for row in rows]
    return sum(each[3] == "01" and int(each[1].rpartition(":")[2], 16) == port for each in fields)
