"""What readers lose when a worker is killed in mid-answer, `kill -9`, and started again at once.

All subjects at once: nothing here is a time that the others could disturb.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.pipelines.load import set_pace
from bench.pipelines.provider import Pace
from bench.pipelines.reading import Reading, read
from bench.pipelines.subjects import Subject

ANSWERS = 5
PACE = Pace(tokens=150, first_token_ms=200, tokens_per_second=50)
KILL_AFTER_SECONDS = 1.5
PATIENCE_SECONDS = 20.0
"""How long a reader waits for the end: six times what an undisturbed answer takes."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What the readers of one subject were left with."""

    readings: Sequence[Reading]

    @property
    def lost_percent(self) -> float:
        """The share of all tokens that no reader has at the end."""
        return 100 * sum(reading.lost(PACE.tokens) for reading in self.readings) / self._expected

    @property
    def doubled_percent(self) -> float:
        return 100 * sum(reading.doubled for reading in self.readings) / self._expected

    @property
    def waiting(self) -> int:
        """Readers that were never told of an end."""
        return sum(reading.end is None for reading in self.readings)

    @property
    def seconds(self) -> float | None:
        """How long it took until the last of the whole texts was there; None when there is none."""
        ends = [r.tokens[-1].arrived_ns - r.submitted_ns for r in self.readings if not r.lost(PACE.tokens)]
        return max(ends) / 1e9 if ends else None

    @property
    def whole(self) -> int:
        """Readers that have the whole text, once."""
        return sum(not reading.lost(PACE.tokens) and not reading.doubled for reading in self.readings)

    @property
    def _expected(self) -> int:
        return len(self.readings) * PACE.tokens


async def kill_all(subjects: Sequence[Subject], provider_url: str) -> dict[str, Loss]:
    """Kill every subject's worker in mid-answer; returns what was lost, by name."""
    await set_pace(provider_url, PACE)
    losses = await asyncio.gather(*(_kill(subject) for subject in subjects))
    return {subject.name: loss for subject, loss in zip(subjects, losses, strict=True)}


async def _kill(subject: Subject) -> Loss:
    answers = asyncio.gather(*(_one(subject) for _ in range(ANSWERS)))
    await asyncio.sleep(KILL_AFTER_SECONDS)
    await asyncio.to_thread(subject.kill_worker)
    await asyncio.to_thread(subject.restart_worker)
    return Loss(await answers)


async def _one(subject: Subject) -> Reading:
    submitted_ns = time.monotonic_ns()
    answer = await subject.run(PATIENCE_SECONDS, partial=True)
    return read(submitted_ns, answer.received)
