"""`tasks`: what is open, by deadline; of one user, of one lane, or all of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rich.text import Text

from operations.opening import opened
from operations.words import console, duration, print_json, table
from shared.auth import is_user_id
from shared.routing import Lane
from shared.state.lifecycle import State
from shared.state.overview import OpenTask, open_tasks
from shared.state.store import clock_ms

LIMIT = 50


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
        now_ms = clock_ms(store.command("TIME"))
    shown = found[: max(0, options.limit)]
    if options.json:
        print_json([_json(task, now_ms) for task in shown])
        return 0
    _print(shown, now_ms)
    if len(found) > len(shown):
        print(f"{len(found) - len(shown)} more; --limit {len(found)} shows all.")
    return 0


def _wanted(task: OpenTask, options: argparse.Namespace) -> bool:
    return (
        (options.user is None or task.ref.user_id == options.user)
        and (options.lane is None or task.lane == options.lane)
        and (options.state is None or task.state == options.state)
    )


def _json(task: OpenTask, now_ms: int) -> dict[str, Any]:
    told = asdict(task)
    ids = told.pop("ref")
    return {**ids, **told, "age_ms": now_ms - task.created_at_ms, "left_ms": task.deadline_ms - now_ms}


def _print(tasks: list[OpenTask], now_ms: int) -> None:
    if not tasks:
        print("No open task.")
        return
    shown = table(
        *("task", "user", "action", "lane", "model", "state", "step", "attempt", "age", "deadline"),
        right=("attempt",),
    )
    for task in tasks:
        shown.add_row(
            *(task.ref.task_id, task.ref.user_id, task.action, task.lane, task.model),
            Text(task.state, "green" if task.state == State.RUNNING else ""),
            f"{task.step + 1} of {task.steps}",
            str(task.attempt),
            duration(now_ms - task.created_at_ms),
            _left(task.deadline_ms - now_ms),
        )
    console().print(shown)


def _left(left_ms: int) -> Text:
    return Text(f"in {duration(left_ms)}") if left_ms >= 0 else Text(f"{duration(-left_ms)} ago", "bold red")


def _user(text: str) -> str:
    if not is_user_id(text):
        raise argparse.ArgumentTypeError("no user id")
    return text
