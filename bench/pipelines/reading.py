"""What a reader makes of the bytes it got: which tokens came, and how long after they were sent."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

_MARKS = re.compile(
    rb"event: ?(?P<event>start|resync|done|error|cancelled)\b"
    rb"|(?P<end>data: \[DONE\])"
    rb"|t(?P<index>\d+):(?P<sent>\d+)(?::(?P<asked>\d+))? "
)
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_DROPS_TEXT = (b"start", b"resync")


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as it arrived."""

    index: int
    sent_ns: int
    arrived_ns: int


@dataclass(slots=True)
class Reading:
    """One answer, as one reader got it; times are the monotonic clock's."""

    submitted_ns: int
    asked_ns: int | None = None
    """When the model was asked."""
    tokens: list[Token] = field(default_factory=list)
    """What the reader shows at the end: a page drops its text when a new attempt starts."""
    dropped: int = 0
    """Tokens that were shown and then taken back by a new attempt."""
    end: str | None = None
    """The event that ended the answer; None when it just stopped."""

    @property
    def added_first_ms(self) -> float:
        """How much later than the model alone the first token came: before it was asked, and after it spoke.

        Raises:
            ValueError: no first token arrived.
        """
        if not self.tokens or self.asked_ns is None:
            raise ValueError("no first token arrived")
        first = self.tokens[0]
        return (self.asked_ns - self.submitted_ns + first.arrived_ns - first.sent_ns) / 1e6

    @property
    def added_token_ms(self) -> list[float]:
        """How long each token but the first was on its way."""
        return [(token.arrived_ns - token.sent_ns) / 1e6 for token in self.tokens if token.index]

    def lost(self, expected: int) -> int:
        return expected - len({token.index for token in self.tokens})

    @property
    def doubled(self) -> int:
        return len(self.tokens) - len({token.index for token in self.tokens})


class Body:
    """An answer's body, out of its HTTP chunks, that still knows when each byte arrived."""

    def __init__(self, received: Sequence[tuple[int, bytes]]) -> None:
        self._times = [arrived_ns for arrived_ns, _ in received]
        self._received_ends = list(accumulate(len(data) for _, data in received))
        head, _, raw = b"".join(data for _, data in received).partition(b"\r\n\r\n")
        start = len(head) + 4
        pieces = list(_chunks(raw)) if _CHUNKED.search(head) else [(0, raw)]
        self.data = b"".join(piece for _, piece in pieces)
        self._ends = list(accumulate(len(piece) for _, piece in pieces))
        self._raw_ends = [start + at + len(piece) for at, piece in pieces]

    def arrived_ns(self, end: int) -> int:
        """Return when the byte before `end` of `data` arrived."""
        piece = bisect.bisect_left(self._ends, end)
        raw_end = self._raw_ends[piece] - (self._ends[piece] - end)
        return self._times[bisect.bisect_left(self._received_ends, raw_end)]


def _chunks(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each chunk and where it begins; the last may have been cut off."""
    at = 0
    while (line_end := raw.find(b"\r\n", at)) > 0 and (size := int(raw[at:line_end], 16)):
        at = line_end + 2
        yield at, raw[at : at + size]
        at += size + 2


def read(submitted_ns: int, received: Sequence[tuple[int, bytes]]) -> Reading:
    """Return what a reader got.

    Args:
        submitted_ns: when the task was sent.
        received: what arrived when, in order.
    """
    body = Body(received)
    reading = Reading(submitted_ns)
    for mark in _MARKS.finditer(body.data):
        if mark["index"]:
            token = Token(int(mark["index"]), int(mark["sent"]), body.arrived_ns(mark.end()))
            reading.tokens.append(token)
            if mark["asked"] and reading.asked_ns is None:
                reading.asked_ns = int(mark["asked"])
        elif mark["event"] in _DROPS_TEXT:
            reading.dropped += len(reading.tokens)
            reading.tokens.clear()
        else:
            reading.end = (mark["event"] or b"done").decode()
            break
    return reading
