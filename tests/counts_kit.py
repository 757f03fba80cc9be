"""Counts that must not creep up: golden numbers in `tests/counts/*.json`, and what to do when one moved.

A test counts everything of one kind and compares it with its file. `SLUICE_WRITE_COUNTS=1 .venv/bin/pytest tests -k
test_counts` writes the files anew: look at the difference, and say in the commit's message what it buys.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("counts")
EVENTS_AHEAD_MS = 5
"""By how much ids run ahead at most of a clock that saw a handful of events in one millisecond."""
HOW = "SLUICE_WRITE_COUNTS=1 .venv/bin/pytest tests -k test_counts"


@dataclass(frozen=True, slots=True)
class AtMost:
    """A count that a new version of a library may move a little: its file has a tenth more, as a ceiling."""

    count: int

    @property
    def ceiling(self) -> int:
        return self.count + self.count // 10


def hold(name: str, counted: Mapping[str, Any]) -> None:
    """Compare what was counted with `tests/counts/{name}.json`, and tell each count that moved."""
    file = FOLDER / f"{name}.json"
    if os.environ.get("SLUICE_WRITE_COUNTS"):
        file.write_text(
            json.dumps(counted, indent=2, ensure_ascii=False, default=lambda at_most: at_most.ceiling) + "\n",
            encoding="utf-8",
        )
        return
    golden = json.loads(file.read_text(encoding="utf-8"))
    moved = list(differences(golden, counted))
    assert not moved, "\n".join(
        [f"{len(moved)} counts of tests/counts/{name}.json moved:", *moved, f"Meant? Write them anew: {HOW}"]
    )


def differences(golden: Any, counted: Any, path: str = "") -> Iterator[str]:
    """Name every count that differs, as `place: before -> now (+n)`."""
    if isinstance(golden, Mapping) and isinstance(counted, Mapping):
        for name in [*golden, *(name for name in counted if name not in golden)]:
            yield from differences(golden.get(name), counted.get(name), f"{path} › {name}" if path else name)
    elif isinstance(golden, list) and isinstance(counted, list):
        gone = [item for item in golden if item not in counted]
        new = [item for item in counted if item not in golden]
        if gone or new:
            yield f"  {path}: gone {gone}, new {new}"
    elif isinstance(counted, AtMost):
        if golden is None or counted.count > golden:
            yield f"  {path}: at most {_said(golden)} -> {counted.count}"
    elif golden != counted:
        numbers = isinstance(golden, int) and isinstance(counted, int)
        change = f" ({counted - golden:+d})" if numbers else ""
        yield f"  {path}: {_said(golden)} -> {_said(counted)}{change}"


def _said(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def settle_clock() -> None:
    """Return when the newest event's id is in the past: one of the same millisecond costs a transition a second look."""
    later_ms = time.time_ns() // 1_000_000 + EVENTS_AHEAD_MS
    while time.time_ns() // 1_000_000 <= later_ms:
        pass
