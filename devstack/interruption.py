"""A polite `kill` ends a program as Ctrl-C does: through its context managers, leaving nothing behind."""

from __future__ import annotations

import signal
from types import FrameType


def exit_on_termination() -> None:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, raised in the main thread."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
