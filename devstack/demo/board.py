"""What the demo knows while it runs: the tasks, the lanes' gauges now and at their peak, the balance."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType
from typing import Self

from devstack.demo.tracking import Tracked
from devstack.gauges import Gauges, read_gauges
from devstack.stack import Stack
from shared.errors import StoreUnavailable
from shared.routing import Lane, Model, Tier

SAMPLE_SECONDS = 0.1


class Board:
    """The shared picture; a thread of its own samples the gauges while the context is open."""

    def __init__(self, stack: Stack) -> None:
        self.started_at = time.monotonic()
        self.tasks: list[Tracked] = []
        self.balance: int | None = None
        self.gauges: Gauges | None = None
        self.peak_places: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self.peak_slots: dict[tuple[Model, Tier], int] = {}
        self._stack = stack
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="gauges", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=10)

    @property
    def seconds(self) -> float:
        """Return how long the demo has been running."""
        return time.monotonic() - self.started_at

    def _sample(self) -> None:
        limits = self._stack.limits
        with contextlib.closing(self._stack.open_store()) as store:
            while not self._ended.wait(SAMPLE_SECONDS):
                with contextlib.suppress(StoreUnavailable):
                    self._note(read_gauges(store, limits))

    def _note(self, gauges: Gauges) -> None:
        self.gauges = gauges
        for lane, level in gauges.places.items():
            self.peak_places[lane] = max(self.peak_places[lane], level.used)
        for pair, level in gauges.slots.items():
            self.peak_slots[pair] = max(self.peak_slots.get(pair, 0), level.used)
