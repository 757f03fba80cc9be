"""Twenty answers at once, of 500 tokens in ten seconds, and what Redis ran for them, by who sent it.

Redis's own log (MONITOR) names each command and whether a script called it. What the bridge sends can be told
by its name: it reads streams and their records, and nothing else here does.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import uvloop

from bench.figures import Figure, Goal
from bench.pipelines.load import ALONE, PACED, run
from bench.pipelines.subjects import Sluice, provider, sluice
from devstack.monitor import Monitor

SECTION = "Redis commands for an answer of 500 tokens in 10 s, 20 at once"
READERS = frozenset({"XREAD", "XRANGE", "XREVRANGE", "HMGET", "ZMSCORE", "TIME", "ZSCORE", "CLIENT"})
"""What the bridge sends; from outside of a script, nobody else sends these."""
UNBILLED = frozenset({"INFO", "HELLO", "AUTH", "SELECT", "PING", "CONFIG", "COMMAND", "MONITOR", "ECHO"})


class CommandLog(Monitor):
    """Counts what Redis runs while the context is open, by who sent it: functions, readers, scripts."""

    def total(self, sender: str) -> int:
        return self.by_sender()[sender].total()

    def by_sender(self) -> dict[str, Counter[str]]:
        """Return how often each command was sent, or run by a script; once the context is left."""
        counted: dict[str, Counter[str]] = {
            "functions": Counter(),
            "readers": Counter(),
            "scripts": Counter(),
        }
        for ran in self.ran:
            if ran.name not in UNBILLED:
                sender = "scripts" if ran.in_script else "readers" if ran.name in READERS else "functions"
                counted[sender][ran.name] += 1
        return counted


@dataclass(frozen=True, slots=True)
class Spent:
    """What Redis has spent and keeps at one moment."""

    cpu_ms: float
    kept_kib: float

    @classmethod
    def now(cls, redis_url: str) -> Spent:
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            told: Any = client.info("everything")
        cpu_seconds = told["used_cpu_user"] + told["used_cpu_sys"]
        return cls(cpu_seconds * 1000, told["used_memory_dataset"] / 1024)


def measure_commands(
    progress: Callable[[str], None], rounds: int, *, spending_rounds: int = 0
) -> list[Figure]:
    """Start a stack as it is deployed, let it answer, and count; returns the figures, one value a round.

    Args:
        progress: told of each step.
        rounds: in which commands are counted.
        spending_rounds: more rounds, in which nothing watches, for what Redis itself spends and keeps.
    """
    logs: list[CommandLog] = []
    spent: list[Spent] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        progress("starting Sluice")
        with (
            provider(sys.executable, Path(folder)) as model_url,
            sluice("sluice", sys.executable, model_url, Path(folder)) as subject,
        ):
            subject.wait_ready()
            progress("warming it")
            uvloop.run(run(subject, model_url, ALONE))
            for number in range(rounds):
                progress(f"round {number + 1} of {rounds}: {PACED.answers} answers at once")
                logs.append(_counted(subject, model_url))
            for number in range(spending_rounds):
                progress(f"round {number + 1} of {spending_rounds}, unwatched")
                spent.append(_spent(subject, model_url))
    return [*_figures(logs), *_spending(spent)]


def _counted(subject: Sluice, model_url: str) -> CommandLog:
    with CommandLog(subject.redis_url) as log:
        uvloop.run(run(subject, model_url, PACED))
    return log


def _spent(subject: Sluice, model_url: str) -> Spent:
    """Return what one answer costs Redis."""
    before = Spent.now(subject.redis_url)
    uvloop.run(run(subject, model_url, PACED))
    after = Spent.now(subject.redis_url)
    return Spent(
        (after.cpu_ms - before.cpu_ms) / PACED.answers, (after.kept_kib - before.kept_kib) / PACED.answers
    )


def _spending(spent: list[Spent]) -> list[Figure]:
    if not spent:
        return []
    cpu, kept = tuple(each.cpu_ms for each in spent), tuple(each.kept_kib for each in spent)
    return [
        Figure(SECTION, "Redis's own processor time", "sluice", "ms an answer", cpu),
        Figure(SECTION, "what Redis keeps", "sluice", "KiB an answer", kept),
    ]


def _figures(logs: list[CommandLog]) -> list[Figure]:
    def an_answer(*senders: str) -> tuple[float, ...]:
        return tuple(sum(map(log.total, senders)) / PACED.answers for log in logs)

    def figure(name: str, at_most: float, *senders: str, note: str = "") -> Figure:
        goal = Goal(f"≤ {at_most:g}", at_most=at_most)
        return Figure(SECTION, name, "sluice", "an answer", an_answer(*senders), goal, note)

    text = logs[0].by_sender()["functions"]["XADD"] / PACED.answers
    return [
        figure("producer and lane", 130, "functions", note=f"{text:.0f} of them are its text"),
        figure("with the reader", 200, "functions", "readers"),
        figure("as Upstash bills producer and lane", 170, "functions", "scripts"),
    ]
