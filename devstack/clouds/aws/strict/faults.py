"""What goes wrong between a caller and AWS: throttling, server errors, lost answers, a killed caller.

A fault looks at each call before it takes effect and after it. What it raises, the caller gets, but for what
botocore retries by itself: such an attempt is made again, at once, as often as the client's configuration
says. Each attempt is a call of its own, for the recorder and for the next fault.

Calls are numbered from 1 by the fault itself, among those that `counts` accepts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from botocore.exceptions import ConnectionClosedError

from devstack.clouds.aws.strict.calls import Call
from devstack.clouds.aws.strict.recorder import Recorded

Counts = Callable[[Recorded], bool]


def every_call(_: Recorded) -> bool:
    return True


def writes_only(call: Recorded) -> bool:
    return call.is_write


class Killed(BaseException):
    """The caller was killed at this call. Nothing that catches errors may catch it."""


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

    def before(self, call: Call, number: int) -> None:
        """Raise what goes wrong before the call took effect."""

    def after(self, call: Call, number: int) -> None:
        """Raise what goes wrong after the call took effect."""


class Throttle(Fault):
    """Every n-th attempt is refused: too many requests. It had no effect."""

    def __init__(self, every: int, counts: Counts = every_call) -> None:
        super().__init__(counts)
        self._every = every

    def before(self, call: Call, number: int) -> None:
        if number and number % self._every == 0:
            code, status = _THROTTLED.get(call.service, ("ThrottlingException", 400))
            raise call.refusal(code, "Rate exceeded", status)


class ServerError(Fault):
    """The attempts from the k-th on, `times` of them, are answered by a server error.

    Args:
        at: k.
        took_effect: whether the call was carried out all the same.
        times: how many attempts in a row; more than the client's attempts let it reach the caller.
        counts: which calls are numbered.
    """

    def __init__(
        self, at: int, *, took_effect: bool = False, times: int = 1, counts: Counts = every_call
    ) -> None:
        super().__init__(counts)
        self._hit = range(at, at + times)
        self._took_effect = took_effect

    def before(self, call: Call, number: int) -> None:
        if number in self._hit and not self._took_effect:
            self._fail(call)

    def after(self, call: Call, number: int) -> None:
        if number in self._hit and self._took_effect:
            self._fail(call)

    def _fail(self, call: Call) -> None:
        code = {"lambda": "ServiceException", "s3": "InternalError", "secretsmanager": "InternalServiceError"}
        raise call.refusal(code.get(call.service, "ServiceFailure"), "An internal error occurred.", 500)


class LostResponse(Fault):
    """The attempts from the k-th on, `times` of them, take effect and their answers never arrive."""

    def __init__(self, at: int, *, times: int = 1, counts: Counts = every_call) -> None:
        super().__init__(counts)
        self._hit = range(at, at + times)

    def after(self, call: Call, number: int) -> None:
        if number in self._hit:
            raise ConnectionClosedError(endpoint_url=str(call.client.meta.endpoint_url))


class CrashAt(Fault):
    """The caller is killed at the k-th call, before or after it took effect, and makes no call ever after."""

    def __init__(self, at: int, *, took_effect: bool = False, counts: Counts = every_call) -> None:
        super().__init__(counts)
        self._at = at
        self._took_effect = took_effect
        self._dead = False

    @property
    def happened(self) -> bool:
        """Return whether there was a k-th call."""
        return self._dead

    def before(self, call: Call, number: int) -> None:
        if self._dead or (number == self._at and not self._took_effect):
            self._die(call)

    def after(self, call: Call, number: int) -> None:
        if number == self._at and self._took_effect:
            self._die(call)

    def _die(self, call: Call) -> None:
        self._dead = True
        raise Killed(f"{call.service}:{call.operation}")


_THROTTLED = {
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "iam": ("Throttling", 400),
    "sts": ("Throttling", 400),
}
