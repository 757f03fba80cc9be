"""Choosing the reader for a kind of file, and turning whatever it raises into an outcome."""

from __future__ import annotations

import gc
import logging
import warnings

from shared.actions.readers.answer import MAX_TEXT_CHARS, Answer, Kind, Outcome, Unreadable


def read(kind: str, data: bytes) -> Answer:
    """Read one file; never raises."""
    gc.disable()  # the process ends in a moment, and its memory is bounded
    warnings.simplefilter("ignore")
    logging.disable()
    try:
        return _picture(data) if kind == Kind.PICTURE else _text(kind, data)
    except Unreadable as error:
        return Answer(error.outcome)
    except (MemoryError, RecursionError):
        return Answer(Outcome.TOO_HARD)
    except Exception:  # noqa: BLE001  # a parser of a stranger's file may raise anything
        return Answer(Outcome.BROKEN)


def _picture(data: bytes) -> Answer:
    from shared.actions.readers.picture import read_picture

    media_type, encoded = read_picture(data)
    return Answer(Outcome.OK, media_type, encoded)


def _text(kind: str, data: bytes) -> Answer:
    if kind == Kind.PDF:
        from shared.actions.readers.pdf import read_pdf as read_text
    else:
        from shared.actions.readers.word import read_word as read_text

    text = read_text(data)
    if len(text) > MAX_TEXT_CHARS:
        raise Unreadable(Outcome.TOO_LONG)
    return Answer(Outcome.OK, "text/plain", text.encode("utf-8", "replace"))
