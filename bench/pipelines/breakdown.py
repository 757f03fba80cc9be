"""Where Sluice's added time to first token goes: stretches from one timestamp to the next, which add up.

Nothing is added to the product. Redis tells when it ran each write to a task's stream (MONITOR: admission's,
the claim's, the first batch's), the broker's stand-in when it took a message and when it began to deliver
it, the model when it was asked and when it spoke, the reader when it sent the task and got the first token.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench.pipelines.client import Failed
from bench.pipelines.reading import Reading

STRETCHES = (
    "action: HTTP, sign-in, admission",
    "action: publish",
    "broker: until delivery",
    "delivery; lane: HTTP, signature, claim",
    "lane: material, model call",
    "(the model)",
    "lane: first token read and written",
    "bridge and reader",
)
_MODEL = STRETCHES.index("(the model)")
_WRITE = re.compile(
    rb'^\+(\d+)\.(\d{6}) \[[^\]]*\] "(?i:xadd)" "cs:events:[^"]*:(?P<task>[^":]+)" ', re.MULTILINE
)
_BATCH = b"token_batch"


@dataclass(frozen=True, slots=True)
class Write:
    """One XADD to a task's stream; times are the wall clock's."""

    task_id: str
    at_ns: int
    is_batch: bool


class Monitor:
    """Redis's own log of what it ran, while the context is open."""

    def __init__(self, redis_url: str) -> None:
        parts = urlsplit(redis_url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._seen = bytearray()

    def __enter__(self) -> Self:
        self._connection = socket.create_connection(self._address)
        self._connection.sendall(b"MONITOR\r\n")
        self._connection.recv(len(b"+OK\r\n"))
        self._thread = threading.Thread(target=self._listen, name="monitor", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def writes(self) -> list[Write]:
        """Return all writes to streams, in order; once the context is left."""
        return parse_writes(bytes(self._seen))

    def _listen(self) -> None:
        while data := self._connection.recv(1 << 16):
            self._seen += data


def parse_writes(log: bytes) -> list[Write]:
    """Read MONITOR's lines."""
    return [
        Write(
            found["task"].decode(),
            int(found[1]) * 1_000_000_000 + int(found[2]) * 1000,
            _BATCH in log[found.end() : log.find(b"\n", found.end())],
        )
        for found in _WRITE.finditer(log)
    ]


def stretches_ms(
    task_id: str, reading: Reading, writes: Iterable[Write], journal: Sequence[Mapping[str, object]]
) -> tuple[float, ...]:
    """Return how long each of STRETCHES took.

    Raises:
        Failed: one of the timestamps is not there.
    """
    offset_ns = time.time_ns() - time.monotonic_ns()
    own = [write for write in writes if write.task_id == task_id]
    batch = next((write for write in own if write.is_batch), None)
    if batch is None or len(own) < 3 or reading.asked_ns is None or not reading.tokens:
        raise Failed(f"task {task_id}: {len(own)} writes and {len(reading.tokens)} tokens were seen")
    first = reading.tokens[0]
    points_ns = [
        reading.submitted_ns,
        own[0].at_ns - offset_ns,
        _noted_ns(journal, task_id, "CREATED") - offset_ns,
        _noted_ns(journal, task_id, "ACTIVE") - offset_ns,
        own[1].at_ns - offset_ns,
        reading.asked_ns,
        first.sent_ns,
        batch.at_ns - offset_ns,
        first.arrived_ns,
    ]
    return tuple((end - begin) / 1e6 for begin, end in pairwise(points_ns))


def is_added(stretch: str) -> bool:
    """Tell whether a stretch is ours and not the model's."""
    return stretch != STRETCHES[_MODEL]


def added(stretches: Sequence[float]) -> float:
    """Return the added time to first token: all stretches but the model's own."""
    return sum(stretches) - stretches[_MODEL]


def middle_means(answers: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the mean of each stretch over the middle half of the answers, by their added time.

    Means add up, where medians do not; the middle half leaves out an answer that waited for the machine.
    """
    ordered = sorted(answers, key=added)
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return tuple(sum(values) / len(values) for values in zip(*middle, strict=True))


def _noted_ns(journal: Sequence[Mapping[str, object]], task_id: str, state: str) -> int:
    """Return when the broker first noted a state; its log is newest first, in ms."""
    for event in reversed(journal):
        if event["taskId"] == task_id and event["state"] == state:
            return int(str(event["time"])) * 1_000_000
    raise Failed(f"task {task_id}: the broker has not noted {state}")
