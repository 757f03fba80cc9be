"""How the commands write durations, times and tables: alike everywhere, plain where nobody's screen is."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from shared.state.controls import Control

MAX_SECONDS = 100 * 365 * 86_400.0
LOG_WIDTH = 160
"""Characters of a line where nobody's screen sets a limit."""


def console() -> Console:
    """Return standard output; in a pipe lines are long and hold no control characters.

    What is printed is what is there: a user's id that looks like markup is none.
    """
    return Console(
        width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False, markup=False, emoji=False
    )


def print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False))


def table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """Return an empty table; the columns in `right` hold numbers."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def duration(ms: float | None) -> str:
    """Return a duration in the unit that people would use; empty for None."""
    if ms is None:
        return ""
    seconds = ms / 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            rest = round(seconds % size / (size / (24 if unit == "d" else 60)))
            below = {"d": "h", "h": "min", "min": "s"}[unit]
            return (
                f"{int(seconds // size)} {unit} {rest} {below}" if rest else f"{int(seconds // size)} {unit}"
            )
    return f"{seconds:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def seconds_of(text: str) -> float:
    """Return how many seconds `90s`, `15m`, `2h` or `7d` are.

    Raises:
        ArgumentTypeError: it is no duration above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]] if found else 0.0
    if not 0 < seconds < MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 90s, 15m, 2h or 7d")
    return seconds


def clock_time(ms: int) -> str:
    """Return a time of Redis's clock, in UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def told(control: Control, now_ms: int) -> str:
    """Return who set a control, for how much longer, and why."""
    left = f"for {duration(control.until_ms - now_ms)} more" if control.until_ms else "until it is cleared"
    return f"{control.by}, {left}: {control.reason}"
