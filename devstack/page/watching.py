"""What the lanes do, read from Redis as an operator would: who waits, who runs, for how long.

A task is found in the index of open tasks; its stream tells when it was queued and when its first text, or
its result, came. Each stream is read on from where the last look ended, so no event is read twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.routing import Lane
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.overview import OpenTask
from shared.state.store import Store

EVENTS_AT_ONCE = 100
_ENDS = frozenset({"done", "error", "cancelled"})


def task_json(task: OpenTask, lease_until_ms: float | None) -> dict[str, Any]:
    """Return what the page shows of a task."""
    return {
        "taskId": task.ref.task_id,
        "action": task.action,
        "state": task.state,
        "lane": task.lane,
        "model": task.model,
        "attempt": task.attempt,
        "createdAt": task.created_at_ms,
        "leaseUntil": lease_until_ms,
    }


def leases(store: Store, tasks: Sequence[OpenTask]) -> list[float | None]:
    """Return until when each task's attempt holds its slot, ms since 1970; None for one that does not run."""
    running = [task for task in tasks if task.state == "running"]
    scores = store.pipeline([["ZSCORE", keys.slots(t.model, t.tier), t.holder] for t in running])
    until = {t.ref: None if score is None else float(score) for t, score in zip(running, scores, strict=True)}
    return [until.get(task.ref) for task in tasks]


@dataclass(slots=True)
class Watch:
    """One task's stream, read on and on until its end."""

    ref: TaskRef
    after: str = "-"
    lane: Lane | None = None
    queued_at_ms: int | None = None

    def take(self, event: Mapping[str, Any]) -> Iterator[tuple[Lane, int]]:
        """Take in one event; yields the lane and the ms that its user has waited, when it is the first."""
        if event["type"] == "queued":
            self.lane, self.queued_at_ms = Lane(event["queueId"]), event["at"]
        elif self.lane is not None and self.queued_at_ms is not None and _is_visible(event):
            yield self.lane, event["at"] - self.queued_at_ms
            self.queued_at_ms = None


def _is_visible(event: Mapping[str, Any]) -> bool:
    return event["type"] in {"step_result", "done"} or bool(event.get("text"))


@dataclass(slots=True)
class FirstTexts:
    """Measures, for every task, the time from `queued` to the first text, or to the result of a batch."""

    _watches: dict[TaskRef, Watch] = field(default_factory=dict)

    def read(self, store: Store, tasks: Sequence[OpenTask]) -> list[tuple[Lane, int]]:
        """Read on; returns lane and milliseconds of each first text since the last call."""
        for task in tasks:
            self._watches.setdefault(task.ref, Watch(task.ref))
        watches = list(self._watches.values())
        still_open = {task.ref for task in tasks}
        return [wait for watch in watches for wait in self._read_one(store, watch, watch.ref in still_open)]

    def _read_one(self, store: Store, watch: Watch, is_open: bool) -> Iterator[tuple[Lane, int]]:  # noqa: FBT001
        key = keys.events(watch.ref.user_id, watch.ref.service_id, watch.ref.task_id)
        entries = store.command("XRANGE", key, watch.after, "+", "COUNT", EVENTS_AT_ONCE)
        has_ended = not is_open and len(entries) < EVENTS_AT_ONCE
        for entry_id, fields in entries:
            event = json.loads(fields[1])
            watch.after = f"({entry_id}"
            yield from watch.take(event)
            has_ended = has_ended or event["type"] in _ENDS
        if has_ended:
            del self._watches[watch.ref]
