"""`status`: every lane's queue, every model's slots and what is open, once or live."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from operations.opening import opened
from operations.words import clock_time, console, duration, print_json, table, told
from shared.config import ConcurrencyConfig
from shared.state.controls import Control, pair_name
from shared.state.overview import LaneView, Overview, SlotView, read_overview
from shared.state.store import Store

EVERY_SECONDS = 2.0
LONG_WAIT_MS = 60_000


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="what waits, what runs, what is open",
        description="Show every lane's queue, every model's slots, and how many tasks are open.",
    )
    parser.add_argument("--watch", action="store_true", help="keep showing it until Ctrl-C")
    parser.add_argument(
        "--every",
        type=_seconds,
        default=EVERY_SECONDS,
        metavar="SECONDS",
        help=f"with --watch: how often Redis is asked (default: {EVERY_SECONDS:g})",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON; with --watch a line each time")
    parser.set_defaults(run=_run, after_interrupt="")


def _run(options: argparse.Namespace) -> int:
    with opened() as (store, settings):
        views = _views(store, settings.concurrency, options.every if options.watch else None)
        try:
            _show(views, as_json=options.json, watch=options.watch)
        except KeyboardInterrupt:
            if not options.watch:
                raise
    return 0


def _views(store: Store, limits: ConcurrencyConfig, every_seconds: float | None) -> Iterator[Overview]:
    yield read_overview(store, limits)
    while every_seconds is not None:
        time.sleep(every_seconds)
        yield read_overview(store, limits)


def _show(views: Iterator[Overview], *, as_json: bool, watch: bool) -> None:
    if as_json:
        for view in views:
            print_json(asdict(view))
        return
    out = console()
    if not (watch and out.is_terminal):
        for view in views:
            out.print(_rendered(view))
        return
    with Live(console=out, screen=False, auto_refresh=False) as live:
        for view in views:
            live.update(_rendered(view), refresh=True)


def _rendered(view: Overview) -> RenderableType:
    lanes = table("lane", "in queue", "of", "oldest", "an end every", right=("in queue", "of"))
    for lane in view.lanes:
        lanes.add_row(*_lane_row(lane))
    slots = table("model", "tier", "slots used", "of", "held by (lease left)", right=("slots used", "of"))
    for slot in view.slots:
        slots.add_row(*_slot_row(slot))
    return Group(lanes, slots, *_set_lines(view), _sum(view))


def _set_lines(view: Overview) -> Iterator[Text]:
    """Yield what operators have set: it explains what would look like a fault."""
    if view.draining:
        yield Text(f"draining, nothing new is admitted: {told(view.draining, view.at_ms)}", "bold yellow")
    for lane in view.lanes:
        if lane.stopped:
            yield Text(f"{lane.lane} is stopped: {told(lane.stopped, view.at_ms)}", "bold yellow")
        if lane.places_set:
            yield _over(f"places of {lane.lane}", lane.places_set, lane.configured_places, view.at_ms)
    for slot in view.slots:
        if slot.slots_set:
            what = f"slots of {pair_name(slot.model, slot.tier)}"
            yield _over(what, slot.slots_set, slot.configured_slots, view.at_ms)


def _over(what: str, control: Control, configured: int | None, now_ms: int) -> Text:
    return Text(f"{what}: {control.value} instead of {configured}: {told(control, now_ms)}", "yellow")


def _lane_row(lane: LaneView) -> tuple[Text | str, ...]:
    style = "bold red" if lane.places_used >= lane.places else "bold" if lane.places_used else "dim"
    late = lane.oldest_ms is not None and lane.oldest_ms > LONG_WAIT_MS
    return (
        Text(f"{lane.lane} (stopped)", "yellow") if lane.stopped else str(lane.lane),
        Text(str(lane.places_used), style),
        Text(str(lane.places), "yellow" if lane.places_set else ""),
        Text(duration(lane.oldest_ms), "yellow" if late else ""),
        duration(lane.interval_ms),
    )


def _slot_row(slot: SlotView) -> tuple[Text | str, ...]:
    held = ", ".join(f"{holder.task_id} ({duration(holder.lease_ms)})" for holder in slot.holders)
    style = "bold yellow" if len(slot.holders) >= slot.slots else "bold" if slot.holders else "dim"
    of = Text(str(slot.slots), "yellow" if slot.slots_set else "")
    return (str(slot.model), str(slot.tier), Text(str(len(slot.holders)), style), of, held)


def _sum(view: Overview) -> Text:
    text = Text(f"{view.open_tasks} open task{'' if view.open_tasks == 1 else 's'}")
    if view.overdue_tasks:
        text.append(f", {view.overdue_tasks} beyond their deadline: does the sweep come?", "bold red")
    return text.append(f"   {clock_time(view.at_ms)} UTC", "dim")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("must be from 0.1 to 3600 seconds")
    return seconds
