"""What all commands share that change something at run time: who, why, for how long, and what is told."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from dataclasses import asdict

from operations.opening import opened
from operations.words import clock_time, print_json, seconds_of
from shared.errors import InvalidRequest
from shared.state.controls import Change, Controller

AFTER_FAILURE = (
    "It may have been done all the same: `scripts/sluice limits changes` says. Asking again is safe."
)


def add_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by", default=login_name(), metavar="NAME", help="who does it; your login name unless given"
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(after_failure=AFTER_FAILURE, wrong_usage=parser.error)


def add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; everybody who looks sees it")


def add_end(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for",
        dest="for_seconds",
        type=seconds_of,
        metavar="DURATION",
        help="how long it holds: 90s, 15m, 2h, 7d; until it is cleared, unless given",
    )


def change(
    options: argparse.Namespace, act: Callable[[Controller], Change], what: str, note: str = ""
) -> int:
    """Change something, and tell what is so from now on; `note` is what whoever does it should know."""
    if not options.by:
        options.wrong_usage("your login has no name; say who you are with --by NAME")
    with opened() as (store, _):
        try:
            changed = act(Controller(store))
        except InvalidRequest as error:
            options.wrong_usage(str(error))
    if options.json:
        print_json(asdict(changed))
        return 0
    if changed.before is None and changed.after is None:
        print(f"{what}; it was so before.")
        return 0
    until = changed.after.until_ms if changed.after else None
    print(f"{what}{f', until {clock_time(until)} UTC' if until else ''}, by {changed.by}.")
    if note:
        print(note)
    return 0


def login_name() -> str:
    """Return who runs this; empty where nobody has a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return ""
