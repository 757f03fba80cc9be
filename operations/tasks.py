"""`tasks`: what is open, by deadline; of one user, of one lane, or all of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from operations.opening import opened
from operations.words import console, duration, print_json, table
from shared.auth import is_user_id
from shared.routing import Lane
from shared.state import keys
from shared.state.lifecycle import State, Step
from shared.state.store import Store

LIMIT = 50
AT_ONCE = 200
FIELDS = ("userId", "action", "tier", "state", "step", "attempt", "steps", "createdAt")


@dataclass(frozen=True, slots=True)
class OpenTask:
    """One open task, as its record has it."""

    task_id: str
    user_id: str
    action: str
    tier: str
    state: str
    step: int
    steps: int
    lane: str
    model: str
    attempt: int
    age_ms: int
    left_ms: int
    """Until its deadline; below 0 it is overdue."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "tasks",
        help="open tasks, the nearest deadline first",
        description="List open tasks, the nearest deadline first. Of one that has ended: `task ID`.",
    )
    parser.add_argument("--user", type=_user, metavar="USER", help="of this user alone")
    parser.add_argument("--lane", choices=[str(lane) for lane in Lane], help="at a step of this lane alone")
    parser.add_argument("--state", choices=["queued", "running"], help="in this state alone")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"at most so many ({LIMIT})")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with opened() as (store, _settings):
        found = [task for task in open_tasks(store) if _wanted(task, options)]
    shown = found[: max(0, options.limit)]
    if options.json:
        print_json([asdict(task) for task in shown])
        return 0
    _print(shown)
    if len(found) > len(shown):
        print(f"{len(found) - len(shown)} more; --limit {len(found)} shows all.")
    return 0


def _wanted(task: OpenTask, options: argparse.Namespace) -> bool:
    return (
        (options.user is None or task.user_id == options.user)
        and (options.lane is None or task.lane == options.lane)
        and (options.state is None or task.state == options.state)
    )


def open_tasks(store: Store) -> Iterator[OpenTask]:
    """Yield all open tasks by deadline; one that ends meanwhile may or may not be there."""
    time, flat = store.pipeline([("TIME",), ("ZRANGE", keys.OPEN_TASKS, 0, -1, "WITHSCORES")])
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    deadlines = [(flat[i], int(float(flat[i + 1]))) for i in range(0, len(flat), 2)]
    for start in range(0, len(deadlines), AT_ONCE):
        part = deadlines[start : start + AT_ONCE]
        records = store.pipeline([("HMGET", keys.task(task_id), *FIELDS) for task_id, _ in part])
        for (task_id, deadline_ms), values in zip(part, records, strict=True):
            record = dict(zip(FIELDS, values, strict=True))
            if record["state"] in {State.QUEUED, State.RUNNING}:
                yield _open_task(task_id, record, now_ms, deadline_ms)


def _open_task(task_id: str, record: Mapping[str, str], now_ms: int, deadline_ms: int) -> OpenTask:
    steps = [Step.from_record(step) for step in json.loads(record["steps"])]
    at = steps[int(record["step"])]
    return OpenTask(
        task_id=task_id,
        user_id=record["userId"],
        action=record["action"],
        tier=record["tier"],
        state=record["state"],
        step=int(record["step"]),
        steps=len(steps),
        lane=at.lane,
        model=at.model,
        attempt=int(record["attempt"]),
        age_ms=now_ms - int(record["createdAt"]),
        left_ms=deadline_ms - now_ms,
    )


def _print(tasks: list[OpenTask]) -> None:
    if not tasks:
        print("No open task.")
        return
    shown = table(
        *("task", "user", "action", "lane", "model", "state", "step", "attempt", "age", "deadline"),
        right=("attempt",),
    )
    for task in tasks:
        left = (
            f"in {duration(task.left_ms)}"
            if task.left_ms >= 0
            else f"[bold red]{duration(-task.left_ms)} ago[/]"
        )
        style = "green" if task.state == State.RUNNING else ""
        shown.add_row(
            task.task_id,
            task.user_id,
            task.action,
            task.lane,
            task.model,
            f"[{style}]{task.state}[/]" if style else task.state,
            f"{task.step + 1} of {task.steps}",
            str(task.attempt),
            duration(task.age_ms),
            left,
        )
    console().print(shown)


def _user(text: str) -> str:
    if not is_user_id(text):
        raise argparse.ArgumentTypeError("no user id")
    return text
