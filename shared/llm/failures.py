"""What a provider's failure means to a task: try again (and when), or never.

Messages are ours alone. A provider's own text may quote the prompt, and a prompt holds users' words.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from shared.errors import PermanentTaskError, RetryableTaskError, TaskError

MAX_RETRY_AFTER_SECONDS = 3600
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
"""Client errors that another attempt can get past."""

_CONTEXT_EXCEEDED = "context_exceeded"
_TOO_LONG_STATUSES = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_TOO_LONG = re.compile(r"context.?(length|window|size)|\b1261\b|[Pp]rompt ?(is too long|超长)")
"""As OpenAI and its followers, llama.cpp, DeepSeek and GLM (its code 1261) say it."""


def as_task_error(error: Exception) -> TaskError | None:
    """Translate an error of the SDK or its HTTP client; None when it is neither's."""
    import httpx2
    import openai

    match error:
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return RetryableTaskError("provider_timeout", "The model's provider did not answer in time.")
        case openai.APIStatusError() if exceeds_context(error):
            return _context_exceeded()
        case openai.APIStatusError():
            return status_error(error.status_code, error.response.headers.get("retry-after"))
        case openai.APIConnectionError() | httpx2.TransportError() | httpx2.DecodingError() | OSError():
            return RetryableTaskError(
                "provider_disconnected", "The connection to the model's provider broke off."
            )
        case openai.APIError():
            return RetryableTaskError("provider_error", "The model's provider failed.")
    return None


def exceeds_context(error: Exception) -> bool:
    """Tell whether a provider refused a request because it does not fit the model's context window."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in _TOO_LONG_STATUSES and _says_too_long(error.response.text)
    return isinstance(error, PermanentTaskError) and error.code == _CONTEXT_EXCEEDED


def event_error(event: str) -> TaskError:
    """Translate an error that a provider reports inside a stream which began with 200."""
    if _says_too_long(event):
        return _context_exceeded()
    return RetryableTaskError("provider_error", "The model's provider failed in mid-answer.")


def status_error(status: int, retry_after: str | None) -> TaskError:
    """Translate an HTTP status of a provider, with the Retry-After header that came along."""
    after = retry_after_seconds(retry_after)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RetryableTaskError(
            "provider_rate_limited", "The model's provider is at its limit.", retry_after_seconds=after
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return RetryableTaskError(
            "provider_error", f"The model's provider answered {status}.", retry_after_seconds=after
        )
    return PermanentTaskError("provider_refused", f"The model's provider refused the request ({status}).")


def retry_after_seconds(header: str | None) -> int | None:
    """Read a Retry-After header, seconds or an HTTP date, as 1 s to an hour; None if it makes no sense."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header)
    return min(MAX_RETRY_AFTER_SECONDS, max(1, math.ceil(seconds))) if math.isfinite(seconds) else None


def _says_too_long(text: str) -> bool:
    return _TOO_LONG.search(text) is not None


def _context_exceeded() -> PermanentTaskError:
    return PermanentTaskError(_CONTEXT_EXCEEDED, "The material is too long for this model.")


def _seconds_until(date: str) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # the latter for a year beyond all integers
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime.now(dt.UTC)).total_seconds()
