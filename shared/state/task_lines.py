"""Tasks in a line each, for lists: by id, or a user's own, the newest first. Ids and codes, no text.

A user's tasks are found by `user:{userId}:keys`, which names each record that a deletion would have to
remove; so there is no list of all tasks, and none is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import State
from shared.state.store import Store

RECENT = 50
_FIELDS = (
    *("userId", "serviceId", "action", "tier", "state", "step", "steps", "attempt"),
    *("createdAt", "finishedAt", "errorCode", "refunded"),
)


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task, open or ended."""

    ref: TaskRef
    action: str
    tier: Tier
    state: State
    step: int
    steps: int
    lane: Lane
    model: Model
    attempt: int
    created_at_ms: int
    finished_at_ms: int | None
    code: str | None
    """Why it failed."""
    refunded: bool


def read_lines(store: Store, task_ids: Sequence[str]) -> list[TaskLine]:
    """Return the tasks of these ids, in one round trip; one whose record is gone is left out."""
    records = store.pipeline([("HMGET", keys.task(task_id), *_FIELDS) for task_id in task_ids])
    named = zip(task_ids, records, strict=True)
    found = ((task_id, dict(zip(_FIELDS, values, strict=True))) for task_id, values in named)
    return [_line(task_id, record) for task_id, record in found if record["steps"]]


def recent_tasks(store: Store, user_id: str, at_most: int = RECENT) -> list[TaskLine]:
    """Return a user's newest tasks, open and ended, the newest first."""
    noted = store.command("ZREVRANGE", keys.user_keys(user_id), 0, -1)
    ids = [keys.task_id(name) for name in noted if keys.is_task(name)]
    return read_lines(store, ids[:at_most])


def overdue_tasks(store: Store, now_ms: int, at_most: int) -> list[TaskLine]:
    """Return the tasks that are open beyond their deadline, the longest overdue first."""
    ids = store.command("ZRANGEBYSCORE", keys.OPEN_TASKS, "-inf", now_ms, "LIMIT", 0, at_most)
    return read_lines(store, ids)


def _line(task_id: str, record: Mapping[str, str | None]) -> TaskLine:
    told = {name: value or "" for name, value in record.items()}
    steps, step = json.loads(told["steps"]), int(told["step"])
    return TaskLine(
        ref=TaskRef(task_id, told["serviceId"], told["userId"]),
        action=told["action"],
        tier=Tier(told["tier"]),
        state=State(told["state"]),
        step=step,
        steps=len(steps),
        lane=Lane(steps[step]["queueId"]),
        model=Model(steps[step]["modelId"]),
        attempt=int(told["attempt"]),
        created_at_ms=int(told["createdAt"]),
        finished_at_ms=int(told["finishedAt"]) if told["finishedAt"] else None,
        code=told["errorCode"] or None,
        refunded=told["refunded"] == "1",
    )
