"""`limits`: every limit that holds here, the variable that sets it, and what an operator has set over it.

limits                                      all of them
limits set slots deepseek-chat:paid 3 …     for a while, or until it is cleared
limits clear slots deepseek-chat:paid       as configured again
limits changes                              who changed what, and why
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.text import Text

from operations.changing import add_end, add_reason, add_who, change
from operations.opening import opened
from operations.words import clock_time, console, print_json, table, told
from shared.config import ConcurrencyConfig, get_concurrency_config
from shared.errors import ConfigError
from shared.routing import Lane, Model, Provider, Tier
from shared.state.controls import (
    Change,
    Control,
    ControlKind,
    Controller,
    Controls,
    pair_name,
    read_controls,
    recent_changes,
)
from shared.state.overview import MODEL_TIERS

PAIRS = {pair_name(model, tier): (model, tier) for model, tier in MODEL_TIERS}
LANES = [str(lane) for lane in Lane]
CHANGES = 20


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: what it bounds, its value here and without any variable, and which variable changes it."""

    what: str
    value: int
    """As configured here."""
    default: int
    variable: str
    set: Control | None = None
    """What an operator has set over it."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "limits",
        help="every limit, what sets it, and setting it at run time",
        description="Show every limit of slots, places and users as this environment's variables give it "
        "(the functions must run with the same), and what an operator has set over it. What is set holds for "
        "all functions at once, until it is cleared or its time is over.",
        epilog="Exit status: 0 done; 2 wrong usage or configuration; 3 no Redis.",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=_run, after_failure="")
    below = parser.add_subparsers(dest="subcommand", title="commands", metavar="set | clear | changes")
    _add_set(below)
    _add_clear(below)
    changes = below.add_parser("changes", help="who changed what, when and why, newest first")
    changes.add_argument("--limit", type=int, default=CHANGES, metavar="N", help=f"at most ({CHANGES})")
    changes.add_argument("--json", action="store_true", help="answer as JSON")
    changes.set_defaults(run=_show_changes)


def _add_set(below: Any) -> None:
    parser = below.add_parser(
        "set",
        help="set one over the configured value",
        description="Set the slots of a model and tier, or the places of a lane, at run time. Lowered below "
        "what is in use, what runs goes on, and nothing begins until there is room. Raised, a function must "
        "be able to serve as many at once: its THREADS, and its instances.",
        epilog="Example: scripts/sluice limits set slots deepseek-chat:paid 3 --for 1h "
        "--reason 'the provider is slow'",
    )
    _add_named(parser)
    parser.add_argument("value", type=int, metavar="N", help="slots: at least 1; places: 0 admits nothing")
    add_end(parser)
    add_reason(parser)
    add_who(parser)
    parser.set_defaults(run=_set)


def _add_clear(below: Any) -> None:
    parser = below.add_parser("clear", help="go back to the configured value")
    _add_named(parser)
    add_who(parser)
    parser.set_defaults(run=_clear, reason="")


def _add_named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["slots", "places"], help="of a model and tier, or of a lane")
    parser.add_argument("name", metavar="NAME", help=f"{', '.join(PAIRS)}; or {', '.join(LANES)}")
    parser.set_defaults(wrong_usage=parser.error)


def _set(options: argparse.Namespace) -> int:
    who = {"by": options.by, "reason": options.reason, "for_seconds": options.for_seconds}

    def act(controller: Controller) -> Change:
        if options.kind == "slots":
            return controller.set_slots(*_pair(options), options.value, **who)
        return controller.set_places(_lane(options), options.value, **who)

    return change(options, act, f"{options.kind} of {options.name}: {options.value}")


def _clear(options: argparse.Namespace) -> int:
    def act(controller: Controller) -> Change:
        if options.kind == "slots":
            return controller.clear_slots(*_pair(options), by=options.by)
        return controller.clear_places(_lane(options), by=options.by)

    return change(options, act, f"{options.kind} of {options.name}: as configured")


def _pair(options: argparse.Namespace) -> tuple[Model, Tier]:
    if options.name not in PAIRS:
        options.wrong_usage(f"slots are of a model and tier: one of {', '.join(PAIRS)}")
    return PAIRS[options.name]


def _lane(options: argparse.Namespace) -> Lane:
    if options.name not in LANES:
        options.wrong_usage(f"places are of a lane: one of {', '.join(LANES)}")
    return Lane(options.name)


def _run(options: argparse.Namespace) -> int:
    config, held = get_concurrency_config(), _held()
    limits = [replace(limit, set=_set_over(held, limit.what)) for limit in all_limits(config)]
    if options.json:
        print_json([asdict(limit) for limit in limits])
        return 0
    shown = table("limit", "in force", "here", "default", "set by", right=("in force", "here", "default"))
    for each in limits:
        here = Text(str(each.value), "bold" if each.value != each.default else "")
        force = Text(str(each.set.value), "bold yellow") if each.set else Text(str(each.value))
        shown.add_row(each.what, force, here, str(each.default), _setter(each, held.at_ms))
    console().print(shown)
    return 0


def _held() -> Controls:
    """Return what operators have set; nothing, and a word of it, where the environment names no Redis."""
    try:
        with opened() as (store, _):
            return read_controls(store)
    except ConfigError as error:
        print(f"limits: what operators have set is not shown: {error}", file=sys.stderr)
        return Controls()


def _setter(limit: Limit, now_ms: int) -> str:
    return f"{limit.variable}; {told(limit.set, now_ms)}" if limit.set else limit.variable


def _set_over(held: Controls, what: str) -> Control | None:
    kind, _, name = what.partition(" of ")
    if kind == "slots":
        return held.slots.get(name)
    return held.places.get(Lane(name)) if name in LANES else None


def _show_changes(options: argparse.Namespace) -> int:
    with opened() as (store, _):
        changes = recent_changes(store, options.limit)
    if options.json:
        print_json([asdict(each) for each in changes])
        return 0
    shown = table("time (UTC)", "by", "what", "until (UTC)", "why")
    for each in changes:
        until = each.after.until_ms if each.after else None
        shown.add_row(
            clock_time(each.at_ms), each.by, _what(each), clock_time(until) if until else "", each.reason
        )
    console().print(shown)
    return 0


def _what(change: Change) -> str:
    """Return what became of a limit, a lane, or admission."""
    match change.kind:
        case ControlKind.STOPPED:
            return f"{change.name} {'stopped' if change.after else 'started'}"
        case ControlKind.DRAINING:
            return "nothing new admitted" if change.after else "new tasks admitted again"
    before, after = (
        str(control.value) if control else "as configured" for control in (change.before, change.after)
    )
    return f"{change.kind} of {change.name}: {before} → {after}"


def all_limits(config: ConcurrencyConfig) -> Iterator[Limit]:
    """Yield every limit of a configuration."""
    plain = get_concurrency_config({})
    for model, tier in MODEL_TIERS:
        pair = pair_name(model, tier)
        workers = "DEEPSEEK_MAX_WORKERS" if model.provider is Provider.DEEPSEEK else "GLM_MAX_WORKERS"
        variable = "MODEL_SLOTS" if pair in config.model_slots else workers
        yield Limit(f"slots of {pair}", config.slots(model, tier), plain.slots(model, tier), variable)
    for lane in Lane:
        variable = f"QUEUE_MAX_{lane.upper()}" if lane in config.queue_max else "QUEUE_MAX_SIZE"
        yield Limit(f"places of {lane}", config.places(lane), plain.places(lane), variable)
    yield Limit("open tasks of a user", config.user_max_active, plain.user_max_active, "USER_MAX_ACTIVE")
