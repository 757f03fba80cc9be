"""What was broken and what came of it, in order: the page tells it in its reader's language."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 200


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that happened: `what` is a word that the page has a sentence for."""

    number: int
    at_ms: int
    what: str
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"n": self.number, "at": self.at_ms, "what": self.what, **self.facts}


@dataclass(slots=True)
class Story:
    """The latest chapters. Thread-safe."""

    _chapters: deque[Chapter] = field(default_factory=lambda: deque(maxlen=KEPT))
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, what: str, **facts: Any) -> None:
        with self._lock:
            self._chapters.append(Chapter(next(self._numbers), round(time.time() * 1000), what, facts))

    def after(self, number: int) -> list[dict[str, Any]]:
        """Return the chapters after one, oldest first."""
        with self._lock:
            return [chapter.to_json() for chapter in self._chapters if chapter.number > number]
