"""The work that every subject is given: one answer at a time, 20 at once, and at full speed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.pipelines.client import Exchange, Failed, Request, call
from bench.pipelines.counters import Counters
from bench.pipelines.provider import Pace
from bench.pipelines.reading import Reading, read
from bench.pipelines.subjects import Subject

AT_ONCE = 20
DEADLINE_SECONDS = 90.0
SETTLE_SECONDS = 0.2
"""What a task costs includes what comes after its last token."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many answers of one pace."""

    pace: Pace
    answers: int
    at_once: int = 1


ALONE = Load(Pace(tokens=5, first_token_ms=30, tokens_per_second=100), answers=20)
PACED = Load(Pace(tokens=500, first_token_ms=200, tokens_per_second=50), AT_ONCE, AT_ONCE)
PACED_SHORT = Load(Pace(tokens=75, first_token_ms=200, tokens_per_second=50), AT_ONCE, AT_ONCE)
"""Enough for latencies; only what an answer costs needs one of ten seconds, and that but once."""
FULL_SPEED = Load(Pace(tokens=500, first_token_ms=0, tokens_per_second=0), AT_ONCE, AT_ONCE)


@dataclass(frozen=True, slots=True)
class Run:
    """What one subject made of one load."""

    load: Load
    readings: Sequence[Reading]
    task_ids: Sequence[str]
    """In the order of the readings."""
    used: Counters
    seconds: float

    def first_ms(self, share: float) -> float:
        """Return a quantile of the added time to first token."""
        return quantile([reading.added_first_ms for reading in self.readings], share)

    def token_ms(self, share: float) -> float:
        """Return a quantile of the added latency of all other tokens."""
        return quantile([each for reading in self.readings for each in reading.added_token_ms], share)

    @property
    def commands_per_answer(self) -> float:
        return self.used.commands / self.load.answers

    @property
    def worker_cpu_ms_per_1000_tokens(self) -> float:
        return self.used.worker_cpu_seconds * 1e6 / (self.load.answers * self.load.pace.tokens)

    @property
    def answers_per_second(self) -> float:
        return self.load.answers / self.seconds


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that such a share of all is not above."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


async def set_pace(provider_url: str, pace: Pace) -> None:
    await call(Request("POST", f"{provider_url}/pace", body=pace.to_json()), DEADLINE_SECONDS)


async def run(subject: Subject, provider_url: str, load: Load) -> Run:
    """Give a subject its work.

    Raises:
        Failed: an answer did not come whole.
    """
    await set_pace(provider_url, load.pace)
    before, started = Counters.of(subject), time.monotonic()
    room = asyncio.Semaphore(load.at_once)
    answers = await asyncio.gather(*(_one(subject, room) for _ in range(load.answers)))
    seconds = time.monotonic() - started
    await asyncio.sleep(SETTLE_SECONDS)
    used = Counters.of(subject).since(before)
    readings = [read(submitted_ns, answer.received) for submitted_ns, answer in answers]
    for reading in readings:
        if reading.end != "done" or reading.lost(load.pace.tokens) or reading.doubled:
            raise Failed(f"{subject.name}: an answer ended {reading.end}, {len(reading.tokens)} tokens came")
    return Run(load, readings, [answer.task_id for _, answer in answers], used, seconds)


async def _one(subject: Subject, room: asyncio.Semaphore) -> tuple[int, Exchange]:
    async with room:
        submitted_ns = time.monotonic_ns()
        return submitted_ns, await subject.run(DEADLINE_SECONDS)
