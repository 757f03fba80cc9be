"""How often a call to a cloud is made that fails, and what is waited in between: one rule for all clouds."""

from __future__ import annotations

import random

ATTEMPTS = 12
ATTEMPTS_TO_CONNECT = 3
"""Where there is nobody to talk to, whoever waits is told soon."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})


def pause_seconds(attempt: int) -> float:
    """Return how long to wait after an attempt (from 1): longer each time, and not in step with others."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311  # it spreads attempts; nothing is secret


def without(text: str, value: str) -> str:
    """Return a text in which a value cannot be read."""
    return text.replace(value, "[hidden]") if value else text
