"""A plan for people: a line for each thing that changes, with what it was and what it will be."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from deployment.steps import (
    Change,
    Ensure,
    EnsureSchedule,
    ForgetArtefact,
    Plan,
    Probe,
    Prune,
    Publish,
    Record,
    Settle,
    Shift,
    Step,
    Upload,
)

MAX_VALUE_CHARACTERS = 60
_DIGEST_CHARACTERS = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plan. Its sign says whether something is new `+`, changed `~`, gone `-`, or moves `>`."""

    subject: str
    sign: str
    text: str
    details: tuple[str, ...] = ()


def lines_of(plan: Plan) -> Iterator[Line]:
    """Yield a plan's lines, those of one function together; waits and probes belong to what they are for."""
    by_subject: dict[str, list[Line]] = {}
    for step in plan.steps:
        line = line_of(step)
        if line is not None:
            by_subject.setdefault(line.subject, []).append(line)
    yield from chain.from_iterable(by_subject.values())


def line_of(step: Step) -> Line | None:  # noqa: PLR0911  # a line for each kind of step
    """Return what a step is for people; None for a wait or a probe."""
    match step:
        case Ensure():
            sign = "+" if step.creates else "~"
            details = () if step.creates else tuple(map(change_text, step.changes))
            return Line(step.function, sign, str(step.kind), details)
        case Upload():
            return Line(step.function, "+", f"package {step.code[:_DIGEST_CHARACTERS]}")
        case Publish():
            first = any(change.property == "code" and change.before is None for change in step.changes)
            details = () if first else tuple(map(change_text, step.changes))
            return Line(step.function, "+", "revision", details)
        case Shift():
            return Line(step.function, ">", f"{step.percent} % of the calls go to {_revision(step)}")
        case EnsureSchedule():
            sign = "+" if step.creates else "~"
            return Line("schedule", sign, "sweep at QStash", tuple(map(change_text, step.changes)))
        case Record():
            return Line("release", "+", f"release {step.number} ({step.note})")
        case Prune():
            return Line(step.function, "-", f"revision {step.revision_id}, which nothing needs any more")
        case ForgetArtefact():
            return Line("packages", "-", f"package {step.code[:_DIGEST_CHARACTERS]}")
        case Probe() | Settle():
            return None


def summary_of(plan: Plan) -> str:
    """Return how many of each there are, in one sentence."""
    signs = Counter(line.sign for line in lines_of(plan))
    parts = [
        f"{signs[sign]} {word}"
        for sign, word in (("+", "to make"), ("~", "to change"), (">", "to move"), ("-", "to remove"))
        if signs[sign]
    ]
    return ", ".join(parts) if parts else "nothing to do"


def progress_text(step: Step) -> str:
    """Return what is being done, for whom it waits."""
    match step:
        case Probe():
            return f"{step.function}: probing the new revision"
        case Settle():
            return f"waiting {step.seconds:g} s, then probing what is live"
        case _:
            line = line_of(step)
            assert line is not None, "only probes and waits have no line"
            return f"{line.subject}: {line.text}"


def change_text(change: Change) -> str:
    """Return one changed property: `memory_mb: 512 → 1024`."""
    if change.before is None:
        return f"{change.property}: {_value(change.after)}"
    if change.after is None:
        return f"{change.property}: {_value(change.before)} → none"
    return f"{change.property}: {_value(change.before)} → {_value(change.after)}"


def _revision(step: Shift) -> str:
    return step.state.fingerprint or "the new revision"


def _value(value: Any) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value[:_DIGEST_CHARACTERS]
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 1]}…"
