"""Being told that the process is to end, before the server waits for its connections to do so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


def call_on_exit(close: Callable[[], None]) -> None:
    """Call `close` in the running loop at SIGTERM or SIGINT, and then whoever was to be called before.

    The Functions Framework's application passes no lifespan events on, and open streams would hold the
    server until it is killed.
    """
    loop = asyncio.get_running_loop()

    def chained(signal_number: signal.Signals, previous: Any) -> None:
        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(close)
            if callable(previous):
                previous(number, frame)

        signal.signal(signal_number, handle)

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        try:
            chained(signal_number, signal.getsignal(signal_number))
        except ValueError:  # not in the main thread: whoever embeds us calls `close`
            return
