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
PATIENCE_SECONDS = 15.0
"""How long an answer may take of somebody who may lose it: longer than the longest load does."""
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
FULL_SPEED_FEWER = Load(FULL_SPEED.pace, answers=8, at_once=8)
"""Of who needs half a second of both processors for one: as fast with eight as with twenty."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one subject made of one load."""

    load: Load
    readings: Sequence[Reading]
    task_ids: Sequence[str]
    """In the order of the readings; what did not arrive whole is in neither."""
    used: Counters
    seconds: float
    """From the first task's sending to the last token's arrival."""

    def first_ms(self, share: float) -> float:
        """Return a quantile of the added time to first token."""
        return quantile([reading.added_first_ms for reading in self.readings], share)

    def token_ms(self, share: float) -> float:
        """Return a quantile of the added latency of all other tokens."""
        return quantile([each for reading in self.readings for each in reading.added_token_ms], share)

    @property
    def arrived_percent(self) -> float:
        """The share of the answers that arrived whole."""
        return 100 * len(self.readings) / self.load.answers

    @property
    def commands_per_answer(self) -> float:
        return self.used.commands / self.load.answers

    @property
    def worker_cpu_ms_per_1000_tokens(self) -> float:
        return self.used.worker_cpu_seconds * 1e6 / (self.load.answers * self.load.pace.tokens)

    @property
    def answers_per_second(self) -> float:
        return len(self.readings) / self.seconds


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
    before, room = Counters.of(subject), asyncio.Semaphore(load.at_once)
    answers = await asyncio.gather(*(_one(subject, room) for _ in range(load.answers)))
    await asyncio.sleep(SETTLE_SECONDS)
    used = Counters.of(subject).since(before)
    read_all = [(read(submitted_ns, answer.received), answer.task_id) for submitted_ns, answer in answers]
    whole = [each for each in read_all if _is_whole(each[0], load)]
    if not whole or (len(whole) < len(read_all) and not subject.may_lose):
        reading = next(reading for reading, _ in read_all if not _is_whole(reading, load))
        raise Failed(f"{subject.name}: an answer ended {reading.end}, {len(reading.tokens)} tokens came")
    readings = [reading for reading, _ in whole]
    return Run(load, readings, [task_id for _, task_id in whole], used, _seconds(readings))


def _is_whole(reading: Reading, load: Load) -> bool:
    return reading.end == "done" and not reading.lost(load.pace.tokens) and not reading.doubled


def _seconds(readings: Sequence[Reading]) -> float:
    begun_ns = min(reading.submitted_ns for reading in readings)
    return (max(reading.tokens[-1].arrived_ns for reading in readings) - begun_ns) / 1e9


async def _one(subject: Subject, room: asyncio.Semaphore) -> tuple[int, Exchange]:
    seconds = PATIENCE_SECONDS if subject.may_lose else DEADLINE_SECONDS
    async with room:
        submitted_ns = time.monotonic_ns()
        return submitted_ns, await subject.run(seconds, partial=subject.may_lose)
