"""Every call to Google Cloud goes through here: tried again where that can help, its errors in our words.

The client libraries' own attempts are off (`ONCE`), so that there is one rule for what is tried again, one
clock that tests can replace, and so that a caller knows when an answer may have been lost: after a second
attempt, "exists already" can mean our own first one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

import requests
from google.api_core.exceptions import GoogleAPICallError
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from deployment.errors import ProviderError, Refused
from deployment.providers.attempts import (
    ATTEMPTS,
    ATTEMPTS_TO_CONNECT,
    TRANSIENT_STATUS,
    GaveUp,
    repeated,
    without,
)

P = ParamSpec("P")
R = TypeVar("R")

ONCE: Final[Mapping[str, Any]] = {"retry": None, "timeout": 60.0}
"""What every method of Google's clients is given: one attempt, and how long it may take."""
CREDENTIALS_ADVICE = (
    "Sign in with `gcloud auth application-default login`, or name a service account's file in "
    "GOOGLE_APPLICATION_CREDENTIALS."
)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _PRECONDITION = 401, 403, 404, 409, 412
_SETTLING = {
    # Not all of Google knows yet of a service account that was just made: seconds, a minute at the most.
    400: re.compile(r"service account .* does not exist", re.IGNORECASE),
    _FORBIDDEN: re.compile(r"actAs.*or it may not exist", re.IGNORECASE),
}
_UNHEARD = (requests.exceptions.RequestException, auth.TransportError, DataCorruption)
_FAILURES: tuple[type[Exception], ...] = (
    GoogleAPICallError,
    InvalidResponse,
    auth.GoogleAuthError,
    *_UNHEARD,
)


class GcpError(ProviderError):
    """Google Cloud refused a call, or failed at it."""

    def __init__(self, operation: str, status: int, code: str, message: str, attempts: int = 1) -> None:
        super().__init__(f"Google Cloud {operation}: {code or status}: {message}")
        self.operation = operation
        self.status = status
        """HTTP's; 0 when nothing was heard."""
        self.code = code
        self.message = message
        self.attempts = attempts
        """How often it was sent. After the second time, the first may have taken effect."""

    @property
    def missing(self) -> bool:
        """Return whether what the call was about is not there."""
        return self.status == _NOT_FOUND

    @property
    def conflicts(self) -> bool:
        """Return whether there is one already, or it is another than the call named."""
        return self.status in {_CONFLICT, _PRECONDITION}

    @property
    def forbidden(self) -> bool:
        return self.status == _FORBIDDEN

    @property
    def transient(self) -> bool:
        """Return whether the same call may go well in a moment; it may also have taken effect."""
        return self.status == 0 or self.status in TRANSIENT_STATUS


@dataclass(frozen=True, slots=True)
class Calls:
    """Makes calls, again where Google is busy or its answer was lost."""

    wait: Callable[[float], None] = time.sleep
    """Waits so many seconds."""

    def __call__(self, method: Callable[P, R], /, *args: P.args, **parameters: P.kwargs) -> R:
        """Call a client's method.

        Raises:
            GcpError: Google refused, or still failed after the last attempt.
            Refused: there are no credentials, or they are not valid.
        """
        try:
            return repeated(lambda: method(*args, **parameters), _FAILURES, _attempts_for, self.wait)
        except GaveUp as failed:
            raise _translated(failed.error, _name(method), failed.attempts, "") from failed.error

    def once(self, value: str, method: Callable[P, R], /, *args: P.args, **parameters: P.kwargs) -> R:
        """Call a method whose effect is another each time; `value` is kept out of its error."""
        try:
            return method(*args, **parameters)
        except _FAILURES as error:
            # The original may hold what was sent; a traceback would show it.
            raise _translated(error, _name(method), 1, value) from None

    def maybe(self, method: Callable[P, R], /, *args: P.args, **parameters: P.kwargs) -> R | None:
        """Call a client's method; None when what it asks for is not there."""
        try:
            return self(method, *args, **parameters)
        except GcpError as error:
            if error.missing:
                return None
            raise


def _attempts_for(error: Exception) -> int:
    """Return how often a call is made that ends in this error."""
    if isinstance(error, requests.exceptions.ConnectionError) and "NewConnectionError" in str(error):
        return ATTEMPTS_TO_CONNECT
    if isinstance(error, _UNHEARD):
        return ATTEMPTS
    status, _, message = _told(error)
    settling = _SETTLING.get(status)
    if settling is not None and settling.search(message):
        return ATTEMPTS
    return ATTEMPTS if status in TRANSIENT_STATUS else 1


def _translated(error: Exception, operation: str, attempts: int, value: str) -> GcpError | Refused:
    if isinstance(error, auth.GoogleAuthError) and not isinstance(error, auth.TransportError):
        return Refused(
            f"Google Cloud: the credentials cannot be used ({without(str(error), value)}). "
            f"{CREDENTIALS_ADVICE}"
        )
    if isinstance(error, _UNHEARD):
        return GcpError(operation, 0, type(error).__name__, without(str(error), value), attempts)
    status, code, message = _told(error)
    if status == _UNAUTHORIZED:
        return Refused(
            f"Google Cloud does not accept the credentials ({code or status}). {CREDENTIALS_ADVICE}"
        )
    return GcpError(operation, status, code, without(message, value), attempts)


def _told(error: Exception) -> tuple[int, str, str]:
    """Return an error's HTTP status, Google's code for it, and its text."""
    response = getattr(error, "response", None)
    status = getattr(error, "code", None) or getattr(response, "status_code", 0)
    try:
        told = response.json()["error"] if response is not None else {}
    except (ValueError, KeyError, TypeError):
        told = {}
    message = told.get("message") or getattr(error, "message", "") or str(error)
    return int(status or 0), str(told.get("status", "")), str(message)


def _name(method: Callable[..., Any]) -> str:
    return getattr(method, "__name__", "call")
