"""What goes wrong between a caller and AWS: throttling, server errors, lost answers, a killed caller.

A fault looks at each call before it takes effect and after it. What it raises, the caller gets, but for what
botocore retries by itself: such an attempt is made again, at once, as often as the client's configuration
says. Each attempt is a call of its own, for the recorder and for the next fault.

How calls are numbered is `devstack.clouds.faults`'.
"""

from __future__ import annotations

from typing import NoReturn

from botocore.exceptions import ConnectionClosedError

from devstack.clouds import faults
from devstack.clouds.aws.strict.calls import Call
from devstack.clouds.faults import Counts, every_call, writes_only

__all__ = [
    "Counts",
    "CrashAt",
    "Fault",
    "Killed",
    "LostResponse",
    "ServerError",
    "Throttle",
    "every_call",
    "writes_only",
]


class Killed(BaseException):
    """The caller was killed at this call. Nothing that catches errors may catch it."""


class Fault(faults.Fault[Call]):
    """What may go wrong with a call to AWS; on its own nothing does."""


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


class CrashAt(faults.Crash[Call], Fault):
    """The caller is killed at the k-th call, before or after it took effect, and makes no call ever after."""

    def end(self, call: Call) -> NoReturn:
        raise Killed(f"{call.service}:{call.operation}")


_THROTTLED = {
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "iam": ("Throttling", 400),
    "sts": ("Throttling", 400),
}
