"""`replay ID`: what failed is done again, a task or a dead letter; what that means is said before."""

from __future__ import annotations

import argparse
from typing import Any

from operations.calling import Actions, NotDone, add_name, calling, confirmed
from operations.words import print_json


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "replay",
        help="replay a task that failed, or a dead letter",
        description="Replay what failed. A task that waits for a message gets its dead letter again; one "
        "that has failed is made anew as a new task of the same user, admitted and paid for like any other, "
        "from what is kept of it. Asked twice, it is one new task. Takes ACTIONS_URL and OPS_TOKEN from the "
        "environment: only actions publishes.",
    )
    parser.add_argument("id", metavar="TASK_OR_DLQ_ID", help="a task's id, or a dead letter's")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="answer as JSON; with --yes")
    add_name(parser)
    parser.set_defaults(
        run=_run, after_failure="Asking again is safe: it is done once.", after_interrupt="stopped"
    )


def _run(options: argparse.Namespace) -> int:
    if options.json and not options.yes:
        options.wrong_usage("--json asks nobody: add --yes")
    with calling(options) as actions:
        return _replay(options, actions)


def _replay(options: argparse.Namespace, actions: Actions) -> int:
    if not options.yes:
        prospect = actions.ask("GET", "replay", query={"id": options.id})
        if prospect["way"] is None:
            raise NotDone(prospect["reason"])
        print(prospect["reason"])
    if not confirmed(options, f"Replay {options.id}?"):
        return 1
    done = actions.ask("POST", "replay", body={"id": options.id})
    if options.json:
        print_json({name: value for name, value in done.items() if name != "ok"})
    else:
        print(_said(done))
    return 0


def _said(done: dict[str, Any]) -> str:
    if done["replayOf"] is None:
        return f"Sent again: task {done['taskId']} goes on with it." if done["taskId"] else "Sent again."
    before = "was replayed before as" if done["replay"] else "is replayed as"
    lane = ", in the free lane" if done["isFree"] else ""
    return f"Task {done['replayOf']} {before} the new task {done['taskId']}{lane}."
