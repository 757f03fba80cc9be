"""What goes wrong between a caller and the emulated Google Cloud: throttling, 5xx, lost answers, its end.

How calls are looked at and numbered is `devstack.clouds.faults`'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from devstack.clouds import faults
from devstack.clouds.faults import Counts, every_call, writes_only
from devstack.clouds.gcp.api.requests import ApiError
from devstack.clouds.recorder import Recorded

__all__ = [
    "Counts",
    "CrashAt",
    "Fails",
    "Fault",
    "Unanswered",
    "every_call",
    "failing",
    "throttled",
    "writes_only",
]


class Unanswered(Exception):
    """The caller gets no answer: its connection breaks."""


class Fault(faults.Fault[Recorded]):
    """What may go wrong with a call to Google Cloud; on its own nothing does."""


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

    def before(self, call: Recorded, number: int) -> None:  # noqa: ARG002  # it fails by number alone
        if not self._took_effect and number and self._hits(number):
            raise self._error

    def after(self, call: Recorded, number: int) -> None:  # noqa: ARG002  # it fails by number alone
        if self._took_effect and number and self._hits(number):
            raise self._error


class CrashAt(faults.Crash[Recorded], Fault):
    """The caller is dead from the k-th call on, before or after that took effect: it hears nothing more.

    Whoever plays the caller asks `happened` where it would try again, and ends there.
    """

    def end(self, call: Recorded) -> NoReturn:
        raise Unanswered(str(call))


def throttled() -> ApiError:
    return ApiError(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Write requests'.")


def failing() -> ApiError:
    return ApiError(503, "UNAVAILABLE", "The service is currently unavailable.")
