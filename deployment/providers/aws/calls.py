"""Every call to AWS goes through here: it is tried again where that can help, and its errors get our words.

botocore's own attempts are off, so that there is one rule for what is tried again, one clock that tests can
replace, and so that a caller knows when an answer may have been lost: after a second attempt, "exists
already" can mean our own first one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

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

CLIENT_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"total_max_attempts": 1, "mode": "standard"},
    user_agent_extra="sluice-deploy",
)
CREDENTIALS_ADVICE = (
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN when they are "
    "temporary), or log in with `aws sso login`."
)
_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
_BAD_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_TRANSIENT = frozenset(
    {
        "BandwidthLimitExceeded",
        "ConcurrentModification",
        "ConcurrentModificationException",
        "ConditionalRequestConflict",
        "InternalError",
        "InternalFailure",
        "InternalServiceError",
        "OperationAborted",
        "OperationAbortedException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceException",
        "ServiceFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_SETTLING = {
    # Lambda is still busy with our last change, or has not yet heard of the role: minutes at the most.
    "ResourceConflictException": re.compile(r"in progress|following state: Pending", re.IGNORECASE),
    "InvalidParameterValueException": re.compile(r"cannot be assumed", re.IGNORECASE),
}
_MISSING = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchKey",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "ResourceNotFoundException",
    }
)


class AwsError(ProviderError):
    """AWS refused a call, or failed at it."""

    def __init__(self, operation: str, code: str, message: str, attempts: int = 1) -> None:
        super().__init__(f"AWS {operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.attempts = attempts
        """How often it was sent. After the second time, the first may have taken effect."""

    @property
    def missing(self) -> bool:
        """Return whether what the call was about is not there."""
        return self.code in _MISSING


@dataclass(frozen=True, slots=True)
class Calls:
    """Makes calls, again where AWS is busy or its answer was lost."""

    wait: Callable[[float], None] = time.sleep
    """Waits so many seconds."""

    def __call__(self, method: Callable[P, R], /, *args: P.args, **parameters: P.kwargs) -> R:
        """Call a client's method.

        Raises:
            AwsError: AWS refused, or still failed after the last attempt.
            Refused: there are no credentials or no region, or they are not valid.
        """
        return self.hiding("", method, *args, **parameters)

    def hiding(self, value: str, method: Callable[P, R], /, *args: P.args, **parameters: P.kwargs) -> R:
        """Call a client's method, and keep `value` out of whatever error comes of it."""
        operation = getattr(method, "__name__", "call")
        try:
            return repeated(
                lambda: method(*args, **parameters), (BotoCoreError, ClientError), _attempts_for, self.wait
            )
        except GaveUp as failed:
            translated = _translated(failed.error, operation, failed.attempts, value)
            # The original holds what was sent; a traceback would show it.
            raise translated from (None if value else failed.error)

    def maybe(self, method: Callable[P, R], /, *args: P.args, **parameters: P.kwargs) -> R | None:
        """Call a client's method; None when what it asks for is not there."""
        try:
            return self(method, *args, **parameters)
        except AwsError as error:
            if error.missing:
                return None
            raise


def pages(
    calls: Calls,
    method: Callable[..., Mapping[str, Any]],
    key: str,
    marker: tuple[str, str],
    **parameters: Any,
) -> list[Any]:
    """Return all entries of an answer that comes in pages; none when what it is about is not there.

    Args:
        calls: makes the calls.
        method: the client's method.
        key: where the entries stand in an answer.
        marker: where the next page's mark stands in an answer, and as which parameter it is sent.
        parameters: what else is sent.
    """
    found: list[Any] = []
    answered, sent = marker
    while True:
        page = calls.maybe(method, **parameters)
        if page is None:
            return found
        found += page.get(key, [])
        if not page.get(answered):
            return found
        parameters[sent] = page[answered]


def _attempts_for(error: Exception) -> int:
    """Return how often a call is made that ends in this error."""
    if isinstance(error, EndpointConnectionError | SSLError):
        return ATTEMPTS_TO_CONNECT
    if not isinstance(error, ClientError):
        return ATTEMPTS if isinstance(error, HTTPClientError) else 1
    code, message, status = _told(error)
    settling = _SETTLING.get(code)
    if settling is not None:
        return ATTEMPTS if settling.search(message) else 1
    return ATTEMPTS if code in _TRANSIENT or status in TRANSIENT_STATUS else 1


def _translated(error: Exception, operation: str, attempts: int, value: str) -> AwsError | Refused:
    if isinstance(error, _CREDENTIALS):
        return Refused(
            f"AWS: there are no usable credentials ({without(str(error), value)}). {CREDENTIALS_ADVICE}"
        )
    if isinstance(error, NoRegionError):
        return Refused("AWS: no region is known. Set `region` in the environment's file.")
    if not isinstance(error, ClientError):
        return AwsError(operation, type(error).__name__, without(str(error), value), attempts)
    code, message, _ = _told(error)
    if code in _BAD_CREDENTIALS:
        return Refused(f"AWS does not accept the credentials ({code}). {CREDENTIALS_ADVICE}")
    return AwsError(operation, code, without(message, value), attempts)


def _told(error: ClientError) -> tuple[str, str, int]:
    told = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return told.get("Code", "Unknown"), told.get("Message", ""), status
