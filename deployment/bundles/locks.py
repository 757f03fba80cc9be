"""Compiled lists of requirements: one of several, in which each package stands once.

An environment may want more than a function's own list, and pip takes no package twice. All lists are of one
resolution (`scripts/lock`), so whatever stands in two of them is the same; where it is not, nothing is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?(==[^\\\n]*)", re.MULTILINE)


def joined(locks: Sequence[str]) -> str:
    """Return one list of several; a single one as it is.

    Raises:
        ValueError: two lists pin the same package differently.
    """
    first, *others = locks
    pins, text = dict(_pins(first)), first
    for lock in others:
        for (name, pin), block in _blocks(lock):
            known = pins.setdefault(name, pin)
            if known is pin:
                text += block
            elif known != pin:
                raise ValueError(f"{name}{pin} in one list of requirements, {name}{known} in another")
    return text


def _pins(lock: str) -> Iterator[tuple[str, str]]:
    return (pin for pin, _ in _blocks(lock))


def _blocks(lock: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each package's name and pin with all its lines: hashes, and who needs it."""
    starts = [*_PIN.finditer(lock)]
    ends = [start.start() for start in starts[1:]]
    for start, end in zip(starts, [*ends, len(lock)], strict=False):  # a list may pin nothing
        name = re.sub(r"[-_.]+", "-", start[1]).lower()
        yield (name, start[2].strip()), lock[start.start() : end]
