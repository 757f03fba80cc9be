"""How a call refuses: one response for each status, with its codes, drawn from the tree of errors.py."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from scripts.contract.calls import ApiCall
from scripts.contract.schemas import reference
from shared.errors import (
    AuthRequired,
    Draining,
    FileTooLarge,
    IdempotencyMismatch,
    InvalidRequest,
    MatchRequired,
    NotFound,
    PublishFailed,
    QueueFull,
    RateLimited,
    ResumeRequired,
    SluiceError,
    StoreUnavailable,
    TextTooLong,
    UnreadableFile,
    UnsupportedFileType,
    UserBusy,
)
from shared.routing import Lane

REASONS: Mapping[type[SluiceError], str] = {
    InvalidRequest: "The body or a header is not valid; the message names the field first.",
    AuthRequired: "There is no user token, or it is expired or not valid. Sign in again.",
    NotFound: "There is no such thing, or it belongs to somebody else, or it is not kept any more.",
    ResumeRequired: "A résumé must have been summarised before. Upload one and wait for `done`.",
    MatchRequired: "The match of this service is not done yet.",
    FileTooLarge: "The file or the whole body has too many bytes; the message says the limit.",
    UnsupportedFileType: "The content is none of the supported types, whatever its name says.",
    UnreadableFile: "The file is damaged, encrypted or too complex, or a PDF without a text layer.",
    TextTooLong: "The text has too many characters; the message says how many, and the limit.",
    IdempotencyMismatch: "This `Idempotency-Key` was used for another action or another body.",
    QueueFull: "The queue (`queueId`) is full. Nothing was charged; `retryAfter` is when there will be room.",
    UserBusy: "Too many tasks of this user are open. Wait for one to end, or cancel one.",
    RateLimited: "Too many requests of this user.",
    Draining: "No new tasks are taken just now; those under way go on. Come back after `retryAfter`.",
    PublishFailed: "The task could not be handed to the queue and has ended; nothing was charged. Try again.",
    StoreUnavailable: "A store is away, or too many files are being read. Try again, with the same key.",
    SluiceError: "Something went wrong here; it has been logged. An accepted task is not affected.",
}
"""When each error comes, for whoever calls."""

SAMPLES: Mapping[type[SluiceError], SluiceError] = {
    InvalidRequest: InvalidRequest("give either a text or a file", field="text"),
    NotFound: NotFound("There is no such service."),
    FileTooLarge: FileTooLarge("file: the file has 7340032 bytes; the limit is 5242880."),
    UnsupportedFileType: UnsupportedFileType("image: only PNG, JPEG and WebP images are supported."),
    UnreadableFile: UnreadableFile("file: this PDF has no text layer; it seems to be a scan. Send its text."),
    TextTooLong: TextTooLong("text: the text has 6120 characters; the limit is 5000."),
    QueueFull: QueueFull(Lane.PAID_STREAM, retry_after_seconds=42),
    UserBusy: UserBusy(retry_after_seconds=5),
    RateLimited: RateLimited(retry_after_seconds=12),
    Draining: Draining(retry_after_seconds=60),
    SluiceError: SluiceError("Something went wrong here; it has been logged."),
}
"""An instance of each error whose class alone says too little."""


def sample(error: type[SluiceError]) -> dict[str, Any]:
    """Return an answer with this error, as app.py writes it."""
    instance = SAMPLES.get(error) or error()
    body: dict[str, Any] = {"ok": False, "error": instance.code, "message": str(instance)}
    if instance.retry_after_seconds is not None:
        body["retryAfter"] = instance.retry_after_seconds
    if isinstance(instance, QueueFull):
        body["queueId"] = instance.queue_id
    return body


def refusal_examples() -> dict[str, Any]:
    """Return the components' examples of every error."""
    return {f"refused_{error.code}": {"value": sample(error)} for error in REASONS}


def refusals_of(call: ApiCall) -> dict[str, Any]:
    """Return a call's refusals as responses by status."""
    errors: list[type[SluiceError]] = sorted((*call.refusals, SluiceError), key=_status)
    return {str(status): _response(list(same)) for status, same in groupby(errors, key=_status)}


def _status(error: type[SluiceError]) -> int:
    return int(error.status)


def _response(errors: list[type[SluiceError]]) -> dict[str, Any]:
    waits = all("retryAfter" in sample(error) for error in errors)
    lines = [f"- `{error.code}`: {REASONS[error]}" for error in errors]
    response: dict[str, Any] = {
        "description": "\n".join(lines),
        "content": {"application/json": _content(errors)},
    }
    headers = ["Retry-After"] if waits else ["WWW-Authenticate"] if AuthRequired in errors else []
    if headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return response


def _content(errors: list[type[SluiceError]]) -> dict[str, Any]:
    codes = [error.code for error in errors]
    required = sorted(set.intersection(*(set(sample(error)) for error in errors)))
    narrowed = {"type": "object", "properties": {"error": {"enum": codes}}, "required": required}
    return {
        "schema": {"allOf": [reference("Refusal"), narrowed]},
        "examples": {code: {"$ref": f"#/components/examples/refused_{code}"} for code in codes},
    }
