"""What `actions` answers over HTTP: JSON, or a refusal by the table of design §4; what the log is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Request, Response

from shared.errors import (
    NON_RETRYABLE,
    AuthRequired,
    Draining,
    MessageError,
    MethodNotAllowed,
    PublishFailed,
    QueueFull,
    SignatureError,
    SluiceError,
    UserBusy,
)
from shared.logs import LogEvent, event

log = logging.getLogger(__name__)
_HIDDEN = {
    "bad_signature": "The signature is not valid.",
    "internal": "Something went wrong here; it has been logged.",
}
"""What is said in the place of a text that is for the log."""


def answer_json(body: Mapping[str, Any], status: int = HTTPStatus.OK) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status=status, mimetype="application/json", headers={"Cache-Control": "no-store"})


def refusal(error: SluiceError) -> Response:
    """Turn an error into its answer; what a signature check found stays in the log."""
    message = _HIDDEN.get(error.code, str(error))
    body: dict[str, Any] = {"ok": False, "error": error.code, "message": message}
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        body["retryAfter"] = error.retry_after_seconds
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, QueueFull):
        body["queueId"] = error.queue_id
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join((*error.allowed, "OPTIONS"))
    if isinstance(error, AuthRequired):
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == NON_RETRYABLE:
        headers["Upstash-NonRetryable-Error"] = "true"
    response = answer_json(body, error.status)
    response.headers.update(headers)
    return response


def tell_refusal(request: Request, error: SluiceError) -> None:
    """Log a refusal: whether somebody has to act on it decides as what."""
    facts = {"status": error.status, "retry_after_seconds": error.retry_after_seconds}
    match error:
        case SignatureError():
            event(log, LogEvent.SIGNATURE_REFUSED, error=error, path=first_part(request))
        case MessageError():
            event(log, LogEvent.MESSAGE_REFUSED, error=error)
        case QueueFull() | UserBusy() | Draining():
            lane = error.queue_id if isinstance(error, QueueFull) else None
            event(log, LogEvent.ADMISSION_REFUSED, facts, error=error, lane=lane)
        case PublishFailed():
            pass  # told where it failed
        case _ if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            event(log, LogEvent.REQUEST_UNAVAILABLE, facts, error=error)
        case _:  # its text may name what a stranger has sent
            event(log, LogEvent.REQUEST_REFUSED, facts, error=error.code)


def first_part(request: Request) -> str:
    """Return the first part of an address: the rest may be anything."""
    return f"/{request.path.split('/')[1]}"
