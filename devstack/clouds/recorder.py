"""Which calls an emulated cloud was asked for, in order, and which of them may have changed something."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call; each attempt of a repeated one counts."""

    service: str
    operation: str
    subject: str
    """What it was about, such as a function, a role, a secret, a bucket and key; empty when it names none."""
    is_write: bool
    """Whether it may have changed something."""

    def __str__(self) -> str:
        return f"{self.service}:{self.operation} {self.subject}".strip()


class Recorder:
    """The calls so far, also from several threads."""

    def __init__(self) -> None:
        self._calls: list[Recorded] = []
        self._lock = threading.Lock()

    def add(self, call: Recorded) -> None:
        with self._lock:
            self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls, so that the next ones can be counted."""
        with self._lock:
            self._calls.clear()

    @property
    def calls(self) -> tuple[Recorded, ...]:
        with self._lock:
            return tuple(self._calls)

    def writes(self) -> tuple[Recorded, ...]:
        """Return the calls that may have changed something."""
        return tuple(call for call in self.calls if call.is_write)
