"""What a subject used between two moments: Redis commands, processor time; and what it holds."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass

from bench.bridge.usage import cpu_seconds
from bench.pipelines.subjects import Subject
from shared.state.store import TcpStore

_CALLS = re.compile(r"^cmdstat_(?P<name>[^:]+):calls=(?P<calls>\d+)", re.MULTILINE)
_OURS = frozenset({"info", "monitor", "client|setinfo", "hello"})
"""What is asked to measure is no part of the measure."""


@dataclass(frozen=True, slots=True)
class Counters:
    """A subject's counters at one moment."""

    commands: int
    worker_cpu_seconds: float

    @classmethod
    def of(cls, subject: Subject) -> Counters:
        url = subject.redis_url
        return cls(commands_of(url) if url else 0, cpu_seconds(subject.worker_pid))

    def since(self, before: Counters) -> Counters:
        return Counters(self.commands - before.commands, self.worker_cpu_seconds - before.worker_cpu_seconds)


def commands_of(redis_url: str) -> int:
    """Return how many commands Redis has run, each command inside a script counted too."""
    with closing(TcpStore(redis_url)) as store:
        return count_calls(str(store.command("INFO", "commandstats")))


def count_calls(commandstats: str) -> int:
    """Add up the calls of INFO's section, without those that measuring makes."""
    return sum(int(found["calls"]) for found in _CALLS.finditer(commandstats) if found["name"] not in _OURS)
