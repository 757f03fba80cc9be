"""`stop`, `start`, `drain`, `resume`: a lane that takes nobody for a while, and no new tasks at all."""

from __future__ import annotations

import argparse
from typing import Any

from operations.changing import add_end, add_reason, add_who, change
from shared.config import get_time_settings
from shared.routing import Lane, templates_of
from shared.state.controls import Controller

LANES = [str(lane) for lane in Lane]


def add(commands: Any) -> None:
    stop = commands.add_parser(
        "stop",
        help="let no further attempt begin in a lane",
        description="Stop a lane: QStash's deliveries are refused and come again, no attempt of a task is "
        "used up, attempts that run go on, and tasks are admitted until the lane is full. Waiting goes on: a "
        "task whose waiting budget runs out meanwhile ends wait_timeout, refunded.",
    )
    stop.add_argument("lane", choices=LANES, metavar="LANE", help=", ".join(LANES))
    add_end(stop)
    add_reason(stop)
    stop.set_defaults(run=_stop)
    start = commands.add_parser(
        "start",
        help="let a stopped lane go on",
        description="Start a stopped lane: its tasks go on with their next delivery, within half a minute or "
        "so.",
    )
    start.add_argument("lane", choices=LANES, metavar="LANE", help=", ".join(LANES))
    start.set_defaults(run=_start)
    drain = commands.add_parser(
        "drain",
        help="admit nothing new",
        description="Admit no new task: callers are answered 503 `draining` and when to come back. What has "
        "been admitted goes on to its end, a second step too.",
    )
    add_end(drain)
    add_reason(drain)
    drain.set_defaults(run=_drain)
    resume = commands.add_parser("resume", help="admit again", description="Admit new tasks again.")
    resume.set_defaults(run=_resume)
    for parser in (stop, start, drain, resume):
        parser.epilog = "Exit status: 0 done; 2 wrong usage or configuration; 3 no Redis."
        add_who(parser)


def _stop(options: argparse.Namespace) -> int:
    lane = Lane(options.lane)

    def act(controller: Controller) -> Any:
        return controller.stop(lane, by=options.by, reason=options.reason, for_seconds=options.for_seconds)

    return change(options, act, f"{lane} is stopped", _budget_note(lane, options.for_seconds))


def _budget_note(lane: Lane, for_seconds: float | None) -> str:
    budget = min(get_time_settings().max_wait_seconds(streams=t.streams) for t in templates_of(lane))
    if for_seconds is not None and for_seconds < budget:
        return ""
    return f"A task may wait {budget:g} s for its turn; one that waits longer ends wait_timeout, refunded."


def _start(options: argparse.Namespace) -> int:
    lane = Lane(options.lane)
    return change(options, lambda c: c.start(lane, by=options.by), f"{lane} works")


def _drain(options: argparse.Namespace) -> int:
    def act(controller: Controller) -> Any:
        return controller.drain(by=options.by, reason=options.reason, for_seconds=options.for_seconds)

    return change(options, act, "No new task is admitted")


def _resume(options: argparse.Namespace) -> int:
    return change(options, lambda c: c.resume(by=options.by), "New tasks are admitted")
