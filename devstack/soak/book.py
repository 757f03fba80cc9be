"""What the users of a soak know: which tasks were accepted, how every request was answered. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from devstack.soak.reading import SoakReader


@dataclass(slots=True)
class Taken:
    """A task that was accepted, as its user knows it."""

    user: str
    task_id: str
    service_id: str
    title: str
    is_free: bool
    label: str | None = None
    """The word in its material by which the model's transcript knows it again."""
    erased: bool = False
    """Whether its user has been deleted since, or may have been."""
    readers: list[SoakReader] = field(default_factory=list)

    @property
    def state(self) -> str:
        """What its readers have seen of it: `open`, or how it ended; `unread` without a reader."""
        ends = [reader.end for reader in self.readers if reader.end is not None]
        return ends[0] if ends else "open" if self.readers else "unread"


@dataclass(frozen=True, slots=True)
class Answered:
    """How one request was answered."""

    user: str
    request: str
    status: int
    error: str | None = None
    retry_after: int | None = None
    """As the body has it."""
    retry_after_header: str | None = None
    at: float = field(default_factory=time.time)


class Book:
    """Written by every user's thread, read by the screen and at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken: dict[str, Taken] = {}
        self.answers: list[Answered] = []
        self.under_key: dict[tuple[str, str], list[str]] = {}
        """The tasks that an idempotency key led to, in order, each once."""
        self.requests: Counter[str] = Counter()
        """What became of the requests: `202`, `429 queue_full`, `no answer`, `nothing to ask for` …"""

    def take(self, task: Taken, key: str | None) -> Taken:
        """Note an accepted task; returns the one that is known already under its id."""
        with self._lock:
            known = self.taken.setdefault(task.task_id, task)
            if key is not None:
                tasks = self.under_key.setdefault((task.user, key), [])
                if task.task_id not in tasks:
                    tasks.append(task.task_id)
            return known

    def note(self, answer: Answered) -> None:
        with self._lock:
            self.answers.append(answer)
            self.requests[f"{answer.status} {answer.error}" if answer.error else str(answer.status)] += 1

    def count(self, what: str) -> None:
        with self._lock:
            self.requests[what] += 1

    def erase(self, user: str) -> None:
        """Note that a user's tasks so far are gone, or may be; their keys may lead to new ones."""
        with self._lock:
            for task in self.taken.values():
                task.erased = task.erased or task.user == user
            for key in [key for key in self.under_key if key[0] == user]:
                del self.under_key[key]

    def tasks(self) -> list[Taken]:
        with self._lock:
            return list(self.taken.values())

    def readers(self) -> list[SoakReader]:
        return [reader for task in self.tasks() for reader in list(task.readers)]

    def states(self) -> Counter[str]:
        return Counter(task.state for task in self.tasks())

    def as_json(self) -> dict[str, Any]:
        return {"requests": dict(self.requests.most_common()), "tasks": dict(self.states())}
