"""A polite `kill` ends a program as Ctrl-C does: through its context managers, leaving nothing behind."""

from __future__ import annotations

import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_on_termination() -> None:
    """Turn the first signal to end into KeyboardInterrupt, raised in the main thread.

    Further ones are ignored: an impatient second Ctrl-C would break off the cleaning up. SIGINT is set here
    too, because a shell script that starts a program in the background has it ignored.
    """
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
