"""Keeps a running attempt's lease, and ends the attempt when it is over: a thread that lives as long as it.

It stops the model call from outside when the lease is lost, when a cancel or another attempt took over
while the model was silent, when Redis was away for longer than the lease, or when the attempt has run as
long as it may.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Protocol, Self

from shared.errors import AttemptLost, RetryableTaskError, StoreUnavailable
from shared.logs import LogEvent, carried, event
from shared.state.lifecycle import Attempt
from shared.state.tasks import Tasks

log = logging.getLogger(__name__)


class Stoppable(Protocol):
    """What can be stopped from another thread, with the error that it is to raise."""

    def stop(self, error: Exception) -> None: ...


class Keeper:
    """Renews `attempt`'s lease every third of it while the block runs.

    Args:
        run_seconds: how long the attempt may run before it is stopped as a time-out that may be retried.
    """

    def __init__(
        self, tasks: Tasks, attempt: Attempt, stop: Stoppable, *, lease_seconds: float, run_seconds: float
    ) -> None:
        self._tasks = tasks
        self._attempt = attempt
        self._stop = stop
        self._lease_seconds = lease_seconds
        self._run_seconds = run_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=carried(self._keep), name=f"keeper-{attempt.holder}", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        started = renewed = time.monotonic()
        while not self._over.wait(self._pause(started)):
            now = time.monotonic()
            if now - started >= self._run_seconds:
                self._stop.stop(RetryableTaskError("timeout", "The attempt ran for too long."))
                return
            try:
                if not self._tasks.renew(self._attempt):
                    self._stop.stop(AttemptLost())
                    return
                renewed = now
            except StoreUnavailable as error:
                event(log, LogEvent.LEASE_NOT_RENEWED, error=error)
                if time.monotonic() - renewed >= self._lease_seconds:
                    self._stop.stop(RetryableTaskError("store_unavailable", "Redis was away for too long."))
                    return

    def _pause(self, started: float) -> float:
        left = self._run_seconds - (time.monotonic() - started)
        return max(0.0, min(self._lease_seconds / 3, left))
