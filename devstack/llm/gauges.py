"""What the stand-in counts: calls running now and at their peak, for each model and each key."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

KEPT_CLOSINGS = 1_000


@dataclass(frozen=True, slots=True)
class Closing:
    """A call that its caller closed before its end."""

    prompt: str
    at_seconds: float = field(default_factory=time.monotonic)


class Gauges:
    """Counters of one stand-in; touched by its event loop alone, read by anyone."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed_early = 0
        self.closings: deque[Closing] = deque(maxlen=KEPT_CLOSINGS)
        self.running: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self._running_by_key: Counter[tuple[str, str]] = Counter()
        self.peak_by_key: dict[str, Counter[str]] = defaultdict(Counter)

    @contextmanager
    def call(self, api_key: str, model: str) -> Iterator[None]:
        """Count a call from its request to its end."""
        self.calls += 1
        self.running[model] += 1
        self._running_by_key[api_key, model] += 1
        self.peak[model] = max(self.peak[model], self.running[model])
        peak = self.peak_by_key[api_key]
        peak[model] = max(peak[model], self._running_by_key[api_key, model])
        try:
            yield
        finally:
            self.running[model] -= 1
            self._running_by_key[api_key, model] -= 1

    def note_closing(self, prompt: str) -> None:
        self.closed_early += 1
        self.closings.append(Closing(prompt))

    def to_json(self) -> dict[str, Any]:
        return {
            "running": {model: count for model, count in self.running.items() if count},
            "peak": dict(self.peak),
            "peakByKeyModel": {key: dict(peak) for key, peak in self.peak_by_key.items()},
            "calls": self.calls,
            "closedEarly": self.closed_early,
        }
