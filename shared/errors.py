"""The errors of Sluice, and what each means to whoever called.

    SluiceError
    ├── ConfigError                 a variable is missing or malformed: the function does not start
    ├── StoreUnavailable            Redis did not answer; 503, QStash tries again
    ├── BlobUnavailable             the blob store did not answer; 503
    ├── AuthUnavailable             the issuer of users' tokens did not answer; 503
    ├── ReadersBusy                 too many files are being read at once; 503
    ├── BrokerUnavailable           QStash did not answer an operator's question; 503
    ├── OrderRefused                an operator's order cannot be followed as things stand; 409
    ├── Refused                     a caller's request is refused (the table of `actions`)
    │   ├── InvalidRequest 400, UnreadableFile / TextTooLong / IdempotencyMismatch 422
    │   ├── AuthRequired 401, NotFound 404, StepRequired 409
    │   ├── FileTooLarge 413, UnsupportedFileType 415
    │   ├── QueueFull / UserBusy / RateLimited 429
    │   └── Draining / PublishFailed 503
    ├── SignatureError              the delivery is not QStash's, or not for this function; 401
    ├── MessageError                signed, but not a message this lane can ever accept; 489
    ├── RetryableTaskError          this attempt failed, another may succeed; 503
    ├── PermanentTaskError          no attempt can succeed; the task ends, 489
    └── AttemptLost                 another attempt, a cancel or the end took over; the worker stops at once

An error's `status` is the HTTP status it becomes, `code` its public name, `retry_after_seconds` when to come
back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")

NON_RETRYABLE = 489
"""QStash's status for "never deliver this again"; only together with `Upstash-NonRetryable-Error: true`."""


class SluiceError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "internal"

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message or type(self).__doc__)
        self.retry_after_seconds = retry_after_seconds


class ConfigError(SluiceError):
    """The configuration is wrong."""

    code = "config"


class StoreUnavailable(SluiceError):
    """The store is not available; try again shortly."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "store_unavailable"

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = 5) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class BlobUnavailable(StoreUnavailable):
    """The file store is not available; try again shortly."""


class AuthUnavailable(StoreUnavailable):
    """The keys that tokens are checked with are not available; try again shortly."""


class ReadersBusy(StoreUnavailable):
    """Too many files are being read at once; try again shortly."""


class BrokerUnavailable(SluiceError):
    """QStash is not available; try again shortly."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "broker_unavailable"

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = 5) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class OrderRefused(SluiceError):
    """This cannot be done as things stand."""

    status = HTTPStatus.CONFLICT
    code = "not_possible"


class Refused(SluiceError):
    """The request is refused."""

    status = HTTPStatus.BAD_REQUEST
    code = "invalid_request"


class InvalidRequest(Refused):
    """The request is not valid."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        field = field and safe_field_name(field)
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class UnreadableFile(Refused):
    """The file cannot be read."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "unreadable_file"


class TextTooLong(Refused):
    """The text is too long."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "text_too_long"


class IdempotencyMismatch(Refused):
    """This Idempotency-Key was used for another action or another body."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency_mismatch"


class AuthRequired(Refused):
    """A valid user token is required."""

    status = HTTPStatus.UNAUTHORIZED
    code = "auth_required"


class NotFound(Refused):
    """There is no such thing."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class MethodNotAllowed(Refused):
    """This address does not answer this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"

    def __init__(self, *allowed: str) -> None:
        super().__init__(f"This address answers {' and '.join(allowed)}." if allowed else "")
        self.allowed = allowed


class ResumeRequired(Refused):
    """A résumé must have been summarised first."""

    status = HTTPStatus.CONFLICT
    code = "resume_required"


class MatchRequired(Refused):
    """The match of this service must be done first."""

    status = HTTPStatus.CONFLICT
    code = "match_required"


class FileTooLarge(Refused):
    """The body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "file_too_large"


class UnsupportedFileType(Refused):
    """This type of file is not supported."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_file_type"


class QueueFull(Refused):
    """The queue is full; come back later."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "queue_full"

    def __init__(self, queue_id: str, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"The queue {queue_id} is full; come back in {retry_after_seconds} s.",
            retry_after_seconds=retry_after_seconds,
        )
        self.queue_id = queue_id


class UserBusy(Refused):
    """Too many tasks of yours are under way."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "user_busy"


class RateLimited(Refused):
    """Too many requests; slow down."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "rate_limited"


class Draining(Refused):
    """No new tasks are taken just now; those under way go on. Come back later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "draining"


class PublishFailed(Refused):
    """The task could not be handed to the queue; nothing was charged. Try again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "publish_failed"

    def __init__(self, message: str = "", *, retry_after_seconds: int | None = 5) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class SignatureError(SluiceError):
    """The signature is not valid. Its text is for the log, never for the answer."""

    status = HTTPStatus.UNAUTHORIZED
    code = "bad_signature"


class MessageError(SluiceError):
    """The message is signed, but this lane can never accept it."""

    status = NON_RETRYABLE
    code = "bad_message"


class TaskError(SluiceError):
    """An attempt at a task failed. `code` is public and per instance; the text never holds a user's words."""

    usage: Mapping[str, Any] | None = None
    """What the attempt had used of its model by then, as far as that is known; the runner says it."""

    def __init__(self, code: str, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.code: str = code  # type: ignore[misc]  # the class's default becomes the instance's fact


class RetryableTaskError(TaskError):
    """This attempt failed; another may succeed."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class PermanentTaskError(TaskError):
    """No attempt can succeed."""

    status = NON_RETRYABLE


class AttemptLost(SluiceError):
    """This attempt was taken over, cancelled or ended; whoever ran it stops and writes nothing more."""

    code = "superseded"


def safe_field_name(name: str) -> str:
    """Return a field's name for an answer; an unknown one is called whatever a user wrote: it is not told."""
    return name if _FIELD_NAME.fullmatch(name) else "body"
