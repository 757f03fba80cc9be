"""A provider's server-sent events: bytes in, as they come over the wire, the chat API's JSON objects out.

    pieces (any cut) ─▶ lines ─▶ data ─▶ JSON ─▶ objects, until `[DONE]` or the end

Held to what the SDK's own reader makes of the same bytes (tests/unit/test_llm_event_stream.py), at a tenth of
its cost: the SDK builds pydantic models of each object, which nobody looks at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from shared.errors import RetryableTaskError
from shared.llm.failures import event_error

_DATA = b"data:"
_DONE = b"[DONE]"


def events_of(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Parse a provider's server-sent events.

    Raises:
        RetryableTaskError: what came is no event of the chat API, or it says that the provider failed.
        PermanentTaskError: it says that the request is too long for the model.
    """
    begun = b""  # of an object that is told on several lines
    for line in _lines(pieces):
        if line.startswith(_DATA):
            data = begun + line[len(_DATA) :]
            try:
                event = orjson.loads(data)
            except ValueError:
                if data.strip().startswith(_DONE):
                    return
                event = _told_otherwise(data)
            if event is None:
                begun = data + b"\n"
                continue
            begun = b""
            if not isinstance(event, dict) or event.get("error"):
                raise event_error(data.decode(errors="replace"))
            yield event
        elif begun and not line:
            break
        # else: ": keep-alive", while DeepSeek queues a call; `event:`, `id:`, which say nothing here
    if begun:
        raise RetryableTaskError("provider_error", "The model's answer could not be read.")


def _told_otherwise(data: bytes) -> Any:
    r"""Parse what only the SDK's parser takes: half of an emoji (`\ud83d`), NaN. None if nobody does."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split at LF, CRLF and CR alone: str.splitlines would also split at U+2028 inside a JSON text."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        if b"\r" in data:  # JSON holds none: inside a text it is written `\r`
            data = _with_line_feeds(data)
        *lines, rest = data.split(b"\n")
        yield from lines
    if rest:
        yield rest


def _with_line_feeds(data: bytes) -> bytes:
    """Replace other ends of lines; a CR at the very end stays, since an LF may belong to it."""
    open_end = len(data) - data.endswith(b"\r")
    return data[:open_end].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + data[open_end:]
