r"""What a reader is asked and what it may answer: one JSON line, then the bytes that it counts.

    {"outcome": "ok", "mediaType": "text/plain", "bytes": 12}\nAnn Lee, Dev
    {"outcome": "encrypted", "mediaType": "", "bytes": 0}\n

An outcome is one of a closed set, so that no word of a file gets into a message or a log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_TEXT_CHARS = 100_000
MAX_ANSWER_BYTES = 2 * 1024 * 1024
_MAX_HEADER_BYTES = 200


class Kind(StrEnum):
    """What a file is, by its first bytes."""

    PDF = "pdf"
    WORD = "word"
    PICTURE = "picture"


class Outcome(StrEnum):
    """How reading ended."""

    OK = "ok"
    BROKEN = "broken"
    ENCRYPTED = "encrypted"
    NO_TEXT = "no_text"
    NO_LETTERS = "no_letters"
    TOO_MANY_PAGES = "too_many_pages"
    TOO_HARD = "too_hard"
    TOO_LONG = "too_long"
    TOO_SMALL = "too_small"
    NOT_THIS_KIND = "not_this_kind"


class Unreadable(Exception):
    """A reader gives up."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader gave."""

    outcome: Outcome
    media_type: str = ""
    data: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        header = {"outcome": self.outcome, "mediaType": self.media_type, "bytes": len(self.data)}
        return json.dumps(header).encode() + b"\n" + self.data

    @classmethod
    def from_bytes(cls, sent: bytes) -> Answer | None:
        """Return what was sent, or None when it is not a whole answer."""
        line, newline, data = sent.partition(b"\n")
        try:
            header: Any = json.loads(line) if newline and len(line) <= _MAX_HEADER_BYTES else None
            answer = cls(Outcome(header["outcome"]), str(header["mediaType"]), data)
            return answer if header["bytes"] == len(data) else None
        except (ValueError, TypeError, KeyError):
            return None
