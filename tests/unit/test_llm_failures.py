"""Retry-After as providers write it, and the statuses that end a task."""

from __future__ import annotations

import pytest

from shared.errors import PermanentTaskError, RetryableTaskError
from shared.llm.failures import MAX_RETRY_AFTER_SECONDS, retry_after_seconds, status_error


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("1.2", 2),
        ("0", 1),
        ("-5", 1),
        ("99999999", MAX_RETRY_AFTER_SECONDS),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 21 Oct 2215 07:28:00", MAX_RETRY_AFTER_SECONDS),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +9999", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_whole_seconds_within_an_hour_or_nothing(
    header: str | None, seconds: int | None
) -> None:
    """D37."""
    assert retry_after_seconds(header) == seconds


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_statuses_that_pass_ask_for_another_attempt(status: int) -> None:
    assert isinstance(status_error(status, None), RetryableTaskError)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_statuses_that_stay_end_the_task(status: int) -> None:
    error = status_error(status, "5")
    assert isinstance(error, PermanentTaskError)
    assert error.code == "provider_refused"
