"""A request's body: read up to a limit, and what nobody reads is forgotten, not kept.

Flask sets no limit by itself, and the Functions Framework reads what is left of a body into memory before it
answers, also for an address that does not exist and for a caller who has proved nothing.
"""

from __future__ import annotations

import contextlib
import io

from flask import Request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared.errors import FileTooLarge

MAX_SKIPPED_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 64 * 1024


def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body as it came, byte for byte.

    Raises:
        FileTooLarge: it has more than `max_bytes`; the rest stays unread.
    """
    request.max_content_length = max_bytes + 1  # a chunked body is cut off there, silently
    try:
        body = request.get_data(cache=False)
        if len(body) <= max_bytes:
            return body
    except RequestEntityTooLarge:
        pass
    _leave(request)
    raise FileTooLarge(f"The body has more than {max_bytes} bytes.")


def skip_body(request: Request) -> None:
    """Read what is left of a body and keep nothing, so that a caller who is still sending gets the answer.

    A body that is too large even for that is left alone: its caller may find the connection closed instead.
    """
    with contextlib.suppress(HTTPException, OSError):
        request.max_content_length = MAX_SKIPPED_BYTES
        while request.stream.read(_PIECE_BYTES):
            pass
    _leave(request)


def _leave(request: Request) -> None:
    request.stream = io.BytesIO()
