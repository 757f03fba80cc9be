"""Numbers on the command line: what argparse would take and no command could do anything with is refused."""

from __future__ import annotations

import argparse
import math

from deployment.planner import WHOLE

LONGEST_SECONDS = 24 * 3600.0


def percents_of(text: str) -> tuple[int, ...]:
    """Read `10,50,100`.

    Raises:
        argparse.ArgumentTypeError: the numbers do not rise to 100.
    """
    try:
        percents = tuple(int(part) for part in text.split(","))
    except ValueError:
        percents = ()
    if not percents or percents[-1] != WHOLE or percents[0] < 1 or list(percents) != sorted(set(percents)):
        raise argparse.ArgumentTypeError(f"{text!r} does not rise to 100, as 10,50,100 does")
    return percents


def seconds_of(text: str) -> float:
    """Read a length of time.

    Raises:
        argparse.ArgumentTypeError: it is no number of seconds from 0 to a day.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to {LONGEST_SECONDS:g}")
    return seconds


def count_of(text: str) -> int:
    """Read how many of something.

    Raises:
        argparse.ArgumentTypeError: it is no number from 1 on.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
