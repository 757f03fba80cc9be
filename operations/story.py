"""`task ID`: one task's whole story, in order, in a terminal; `shared/stream/story.py` has what is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from operations.opening import opened
from operations.words import clock_time, console, duration, print_json, table
from shared.state.lifecycle import State
from shared.state.tasks import Tasks
from shared.stream.story import Story, read_story


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "task",
        help="one task's whole story",
        description="Tell what happened to one task, in order, without anybody's text.",
    )
    parser.add_argument("task_id", metavar="ID", help="the task's id")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with opened() as (store, settings):
        tasks = Tasks(store, concurrency=settings.concurrency, time=settings.time, stream=settings.stream)
        story = read_story(store, tasks, options.task_id)
    if story is None:
        days = settings.time.task_ttl_seconds / 86_400
        print(
            f"task: there is no task {options.task_id}; records go {days:g} days after the end",
            file=sys.stderr,
        )
        return 1
    if options.json:
        print_json(asdict(story))
    else:
        _print(console(), story)
    return 0


def _print(out: Console, story: Story) -> None:
    head = table("", "")
    head.show_header = False
    for name, value in story.record.items():
        told = "\n".join(value) if isinstance(value, list) else str(value)
        head.add_row(name, Text(told, _style(value) if name == "state" else ""))
    out.print(story.task_id, style="bold")
    out.print(head)
    shown = table("time (UTC)", "after", "what", "facts", right=("after",))
    began_ms = story.moments[0].at_ms if story.moments else 0
    for moment in story.moments:
        after = duration(moment.at_ms - began_ms) if moment.at_ms > began_ms else ""
        shown.add_row(clock_time(moment.at_ms), after, moment.what, _facts(moment.facts))
    out.print(shown)
    if not story.whole:
        out.print(
            "Its events are not all there: a stream is trimmed when long, and goes some time after the end."
        )


def _style(state: str) -> str:
    return {State.DONE: "green", State.FAILED: "red", State.RUNNING: "cyan"}.get(State(state), "default")


def _facts(facts: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_value(name, value)}" for name, value in facts.items())


def _value(name: str, value: Any) -> str:
    if name in {"latencyMs", "forMs"}:
        return duration(value)
    if name == "coins":
        return f"{value:+d}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return str(value)
