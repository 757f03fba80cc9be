"""The cool-down: faults are off, and sweeps come as from the schedule, until nothing is open, or too late."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

import httpx

from devstack.qstash.journal import LogState
from devstack.soak.book import Book
from devstack.soak.watch import Seen
from devstack.stack import Stack

SWEEP_EVERY_SECONDS = 2.0
TRAFFIC_SWEEP_SECONDS = 6.0
"""A good deal below the waiting budget, as SWEEP_MINUTES is by default."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Unrest:
    """What is still under way; all of it 0 at rest."""

    open_tasks: int
    messages: int
    """On their way, or about to be."""
    calls: int
    readers: int

    def __bool__(self) -> bool:
        return bool(self.open_tasks or self.messages or self.calls or self.readers)

    def __str__(self) -> str:
        return (
            f"{self.open_tasks} tasks, {self.messages} messages, {self.calls} calls, {self.readers} readers"
        )


def keep_sweeping(stack: Stack, ending: threading.Event) -> None:
    """Sweep as the schedule does, which knows no shorter interval than a minute; a publish may fail."""
    while not ending.wait(TRAFFIC_SWEEP_SECONDS):
        with contextlib.suppress(httpx.HTTPError):
            sweep(stack)


def look(stack: Stack, book: Book, seen: Seen) -> Unrest:
    """Return what is under way now."""
    messages = stack.qstash.state()["open"]
    return Unrest(
        open_tasks=seen.open_tasks,
        messages=messages - retrying(stack) if messages else 0,
        calls=sum(stack.llm.state["running"].values()),
        readers=sum(reader.end is None for reader in book.readers()),
    )


def retrying(stack: Stack) -> int:
    """Return how many messages only wait for their next retry.

    The broker's own back-off is minutes, also at the stand-in's time scale; what is delivered then finds its
    task ended.
    """
    latest: dict[str, str] = {}
    for event in stack.qstash.events():  # newest first
        latest.setdefault(event["messageId"], event["state"])
    return sum(state == LogState.RETRY for state in latest.values())


def come_to_rest(stack: Stack, book: Book, seen: Seen, *, deadline_seconds: float) -> Unrest:
    """Sweep until nothing is under way; returns what still is at the deadline."""
    deadline, swept_at = time.monotonic() + deadline_seconds, 0.0
    while (unrest := look(stack, book, seen)) and time.monotonic() < deadline:
        if time.monotonic() - swept_at > SWEEP_EVERY_SECONDS:
            sweep(stack)
            swept_at = time.monotonic()
        time.sleep(POLL_SECONDS)
    return unrest


def sweep(stack: Stack) -> None:
    """Have QStash call the sweep once, now."""
    httpx.post(
        f"{stack.qstash.url}/v2/publish/{stack.url('actions')}/callbacks/sweep",
        headers={"Authorization": f"Bearer {stack.qstash.token}", "Upstash-Retries": "0"},
    ).raise_for_status()
