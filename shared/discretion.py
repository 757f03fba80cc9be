"""Takes out of a log record whatever may hold a user's text.

    our records      as they are; of an exception the frames and its type, its text only when it is ours
    others' records  from WARNING on: where they come from and the constant part of what they say

An exception of a library quotes what it was given: pydantic the input, a codec the whole text, Redis a
command's arguments, an SDK a provider's answer, which may quote the prompt. At DEBUG, which a variable of the
SDK's own turns on, it logs whole requests; a web server logs addresses, and an SSE address holds a token.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

from shared.errors import SluiceError

OURS = "shared"


class Discretion(logging.Filter):
    """A filter for loggers and handlers alike: a record may pass both."""

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = record.name.partition(".")[0] == OURS
        if not is_ours and record.levelno < logging.WARNING:
            return False
        if not is_ours and not getattr(record, "discreet", False):
            said = _constant_part(record)
            record.msg, record.args = f"{record.name} ({record.module}:{record.lineno}) {said}", ()
        if record.exc_info:
            record.exc_text = frames_of(record.exc_info[1])
            record.exc_info = None
        record.discreet = True
        return True


def frames_of(error: BaseException | None) -> str:
    """Return an exception's traceback with what led to it, first things first, without others' texts."""
    return "\nthen:\n".join(_frames(each) for each in reversed(list(_chain(error))))


def _frames(error: BaseException) -> str:
    text = f": {error}" if isinstance(error, SluiceError) else ""
    return "".join([*traceback.format_tb(error.__traceback__), type(error).__qualname__, text])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _constant_part(record: logging.LogRecord) -> str:
    """Return a message's template with its numbers; without arguments, who knows what was built into it."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    shown = tuple(each if isinstance(each, int | float) else "…" for each in arguments)
    try:
        return str(record.msg) % shown if shown else "(not shown)"
    except (TypeError, ValueError):
        return "(not shown)"
