"""How often a call to a cloud is made that fails, and what is waited in between: one rule for all clouds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

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


class GaveUp(Exception):
    """A call failed for the last time."""

    def __init__(self, error: Exception, attempts: int) -> None:
        super().__init__(type(error).__name__)
        self.error = error
        self.attempts = attempts
        """How often it was sent. After the second time, the first may have taken effect."""


def repeated(
    call: Callable[[], R],
    failures: tuple[type[Exception], ...],
    attempts_for: Callable[[Exception], int],
    wait: Callable[[float], None],
) -> R:
    """Make a call, again where that can help, and return its answer.

    Args:
        call: makes it once.
        failures: what it raises when it fails; anything else is nobody's business here.
        attempts_for: says how often a call is made that ends in this error.
        wait: waits so many seconds.

    Raises:
        GaveUp: it failed for the last time.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return call()
        except failures as error:
            if attempt >= attempts_for(error):
                raise GaveUp(error, attempt) from None
            wait(pause_seconds(attempt))
