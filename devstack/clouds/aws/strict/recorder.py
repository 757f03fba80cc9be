"""Which calls a session made, in order, and which of them may have changed something."""

from __future__ import annotations

import threading
from dataclasses import dataclass

_READS = ("Get", "List", "Describe", "Head", "BatchGet", "Simulate", "AssumeRole")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call; each attempt of a retried one counts."""

    service: str
    operation: str
    subject: str
    """What it was about: a function, a bucket and key, a role, a secret; empty when it names none."""

    @property
    def is_write(self) -> bool:
        return not self.operation.startswith(_READS)

    def __str__(self) -> str:
        return f"{self.service}:{self.operation} {self.subject}".strip()


class Recorder:
    """The calls of one session, also from several threads."""

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


_SUBJECTS = ("FunctionName", "RoleName", "SecretId", "Name", "logGroupName", "Resource", "resourceArn")


def subject_of(params: dict[str, object]) -> str:
    """Return what a call is about."""
    if "Bucket" in params:
        return "/".join(str(params[name]) for name in ("Bucket", "Key") if name in params)
    return next((str(params[name]) for name in _SUBJECTS if name in params), "")
