"""The lanes, sampled once a second into a ring, so that a page that is opened again still has the past."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.gauges import Gauges, read_gauges
from devstack.page.watching import FirstTexts, leases, task_json
from devstack.sampling import SamplingThread
from devstack.stack import Stack
from shared.errors import SluiceError
from shared.routing import Lane, models_of
from shared.state.overview import OpenTask, open_tasks
from shared.state.store import Store

EVERY_SECONDS = 1.0
KEPT = 300
"""Samples in the ring: five minutes."""
RECENT = 20
"""First texts of a lane that its figure is made of."""
MAX_TASKS = 200
"""So many open tasks are shown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One second of all lanes. `first_ms`: how long those waited who saw their first text in it."""

    number: int
    at_ms: int
    depth: Mapping[Lane, int]
    running: Mapping[Lane, int]
    first_ms: Mapping[Lane, list[int]]

    def to_json(self) -> dict[str, Any]:
        lanes = {
            lane: [self.depth[lane], self.running.get(lane, 0), self.first_ms.get(lane, [])] for lane in Lane
        }
        return {"n": self.number, "at": self.at_ms, "lanes": lanes}


class Live(SamplingThread):
    """The sampler: a thread with a connection of its own to Redis; a context manager."""

    def __init__(self, stack: Stack) -> None:
        super().__init__("page-live")
        self._stack = stack
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._recent: dict[Lane, deque[int]] = {lane: deque(maxlen=RECENT) for lane in Lane}
        self._tasks: list[dict[str, Any]] = []
        self._slots: dict[str, Any] = {}
        self._firsts = FirstTexts()

    def lanes(self) -> dict[str, Any]:
        """Return what never changes of each lane: its limits, and the models that it calls."""
        limits = self._stack.limits
        return {
            lane: {
                "places": limits.places(lane),
                "slots": sum(limits.slots(model, lane.tier) for model in models_of(lane)),
                "models": sorted(models_of(lane)),
                "tier": lane.tier,
                "kind": lane.kind,
            }
            for lane in Lane
        }

    def after(self, number: int) -> dict[str, Any]:
        """Return the samples after one, and what is true now."""
        samples = [sample.to_json() for sample in list(self._samples) if sample.number > number]
        return {
            "samples": samples,
            "tasks": self._tasks,
            "slots": self._slots,
            "firstMs": {
                lane: round(statistics.median(recent)) if recent else None
                for lane, recent in self._recent.items()
            },
        }

    def sample(self) -> None:
        store = self._stack.open_store()
        try:
            while not self.over.wait(EVERY_SECONDS):
                try:
                    self._sample(store)
                except SluiceError:
                    continue  # Redis is away: the charts have a gap then
        finally:
            store.close()

    def _sample(self, store: Store) -> None:
        gauges, tasks = read_gauges(store, self._stack.limits), list(open_tasks(store, MAX_TASKS))
        self._tasks = [
            task_json(task, until) for task, until in zip(tasks, leases(store, tasks), strict=True)
        ]
        self._slots = gauges.to_json()["slots"]
        self._samples.append(self._sample_of(gauges, tasks, self._firsts.read(store, tasks)))

    def _sample_of(
        self, gauges: Gauges, tasks: Iterable[OpenTask], firsts: Iterable[tuple[Lane, int]]
    ) -> Sample:
        first_ms: dict[Lane, list[int]] = {}
        for lane, waited_ms in firsts:
            first_ms.setdefault(lane, []).append(waited_ms)
            self._recent[lane].append(waited_ms)
        return Sample(
            number=self._samples[-1].number + 1 if self._samples else 1,
            at_ms=round(time.time() * 1000),
            depth={lane: level.used for lane, level in gauges.places.items()},
            running=Counter(task.lane for task in tasks if task.state == "running"),
            first_ms=first_ms,
        )
