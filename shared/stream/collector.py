"""When Python looks for garbage in cycles: seldom, by the clock, and never because many readers came at once.

A full collection looks at every object of every connection and holds up all of them meanwhile, 50 ms for
each thousand; left to itself it runs again and again while connections are opened, and finds nothing, since a
connection that ends leaves no cycles. What does (an exception's traceback) waits for the next one.
"""

from __future__ import annotations

import gc
import time

from shared.warming import settle

THRESHOLDS = (10_000, 5, 1_000_000)
"""Young objects are looked at a few milliseconds' worth at a time; the old ones by the clock alone."""
FULL_COLLECTION_SECONDS = 600.0


class Collector:
    """The garbage collector of a process with thousands of connections."""

    def __init__(self) -> None:
        settle(THRESHOLDS)
        self._due_at = time.monotonic() + FULL_COLLECTION_SECONDS

    def tick(self) -> None:
        """Collect, if it is time."""
        if time.monotonic() >= self._due_at:
            gc.collect()
            self._due_at = time.monotonic() + FULL_COLLECTION_SECONDS
