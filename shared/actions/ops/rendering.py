"""Pages from templates: Jinja2, which Flask brings, with autoescape; numbers as people read them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.state.lifecycle import State

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")
SPARK_WIDTH, SPARK_HEIGHT = 180, 32
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"duration": duration, "clock": clock, "day_time": day_time, "spark": spark}
    made.filters |= {"money": money, "short": short, "count": count}
    made.globals |= {"version": version(), "State": State}
    return made


def render(template: str, **facts: Any) -> str:
    """Return a page; a fact that a template asks for and does not get is an error, never a blank."""
    return environment().get_template(template).render(**facts)


@cache
def version() -> str:
    """Return what stands in the addresses of style and script: a release's are never an older one's."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def duration(ms: float | None) -> str:
    """Return a duration in the unit that people would use; a dash for None."""
    if ms is None:
        return "–"
    seconds = ms / 1000
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}".replace(".0 ", " ")
    return f"{seconds:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def clock(ms: int) -> str:
    """Return the time of day, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")


def day_time(ms: int) -> str:
    """Return day and time, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def count(number: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}"


def money(micros: int) -> str:
    """Return an amount of some currency, from its millionths."""
    return f"{micros / 1e6:,.2f}" if micros >= 10_000 or not micros else f"{micros / 1e6:.4f}"


def short(text: str) -> str:
    """Return the beginning of an id, for where the whole one is at hand."""
    return text if len(text) <= 12 else f"{text[:8]}…"


def spark(values: Sequence[int]) -> str:
    """Return the points of a line of SPARK_WIDTH by SPARK_HEIGHT for numbers, one beside the other."""
    most, step = max(1, *values), SPARK_WIDTH / max(1, len(values) - 1)
    heights = (SPARK_HEIGHT - 2 - value / most * (SPARK_HEIGHT - 4) for value in values)
    return " ".join(f"{n * step:.1f},{height:.1f}" for n, height in enumerate(heights))
