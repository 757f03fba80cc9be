"""What goes wrong between a caller and the emulated Google Cloud: throttling, 5xx, lost answers, its end.

A fault looks at each call before it takes effect and after it. Calls are numbered from 1 by the fault itself,
among those that `counts` accepts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from devstack.clouds.gcp.api.requests import ApiError
from devstack.clouds.gcp.recorder import Recorded

Counts = Callable[[Recorded], bool]


def every_call(_: Recorded) -> bool:
    return True


def writes_only(call: Recorded) -> bool:
    return call.is_write


class Unanswered(Exception):
    """The caller gets no answer: its connection breaks."""


class Fault:
    """What may go wrong with a call; on its own nothing does."""

    def __init__(self, counts: Counts = every_call) -> None:
        self._counts = counts
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def seen(self) -> int:
        """Return how many calls it has counted."""
        return self._seen

    def number(self, recorded: Recorded) -> int:
        """Count a call and return its number, 0 for one that does not count."""
        if not self._counts(recorded):
            return 0
        with self._lock:
            self._seen += 1
            return self._seen

    def before(self, number: int) -> None:
        """Raise what goes wrong before the call took effect."""

    def after(self, number: int) -> None:
        """Raise what goes wrong after the call took effect."""


class Fails(Fault):
    """The attempts that `hits` accepts are answered by an error, or not at all.

    Args:
        hits: says of a call's number whether it fails.
        error: how; Unanswered breaks the connection.
        took_effect: whether the call was carried out all the same.
        counts: which calls are numbered.
    """

    def __init__(
        self,
        hits: Callable[[int], bool],
        error: ApiError | Unanswered,
        *,
        took_effect: bool = False,
        counts: Counts = every_call,
    ) -> None:
        super().__init__(counts)
        self._hits = hits
        self._error = error
        self._took_effect = took_effect

    def before(self, number: int) -> None:
        if not self._took_effect and number and self._hits(number):
            raise self._error

    def after(self, number: int) -> None:
        if self._took_effect and number and self._hits(number):
            raise self._error


class CrashAt(Fault):
    """The caller is dead from the k-th call on, before or after that took effect: it hears nothing more.

    Whoever plays the caller asks `happened` where it would try again, and ends there.
    """

    def __init__(self, at: int, *, took_effect: bool = False, counts: Counts = every_call) -> None:
        super().__init__(counts)
        self._at = at
        self._took_effect = took_effect
        self._dead = False

    @property
    def happened(self) -> bool:
        """Return whether there was a k-th call."""
        return self._dead

    def before(self, number: int) -> None:
        if self._dead or (number == self._at and not self._took_effect):
            self._dead = True
            raise Unanswered

    def after(self, number: int) -> None:
        if number == self._at and self._took_effect:
            self._dead = True
            raise Unanswered


def throttled() -> ApiError:
    return ApiError(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Write requests'.")


def failing() -> ApiError:
    return ApiError(503, "UNAVAILABLE", "The service is currently unavailable.")
