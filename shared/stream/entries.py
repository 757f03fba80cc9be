"""Entries of a task's stream as the bridge handles them: parsed once, framed once, sent to many.

An SSE frame is `id:` (the stream id, by which a reader resumes), `event:` (the type) and `data:` (the JSON
as it is stored). What the bridge makes up itself (`stalled`) has no id, so that a reader's place stays
where it was.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.logs import LogEvent
from shared.logs import event as log_event
from shared.stream.events import TERMINAL, EventType, dumps

log = logging.getLogger(__name__)
StreamId = tuple[int, int]
"""A stream id: ms and a sequence number; tuples compare as Redis compares ids."""

BEGINNING: StreamId = (0, 0)
MAX_MERGED_CHARACTERS = 65_536
_TEXT = EventType.TOKEN_BATCH.value
_decode = json.JSONDecoder().raw_decode
_ID = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", re.ASCII)


def parse_id(text: str) -> StreamId:
    """Parse a stream id, with or without its sequence number.

    Raises:
        ValueError: it is none.
    """
    match = _ID.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a stream id")
    return int(match[1]), int(match[2] or 0)


def stored_id(text: str) -> StreamId:
    """Parse an id as Redis gives it."""
    ms, _, number = text.partition("-")
    return int(ms), int(number)


def format_id(id_: StreamId) -> str:
    return f"{id_[0]}-{id_[1]}"


class Entry(NamedTuple):
    """One event, and the bytes that carry it to every reader: a tuple, since thousands are made a second."""

    id: StreamId | None
    type: str
    event: Mapping[str, Any]
    frame: bytes
    offset: int = 0
    end: int = 0
    """Of a batch: code points of the attempt's text before it, and up to and with it."""

    @classmethod
    def of(
        cls, event: Mapping[str, Any], id_: StreamId | None, text: str | None = None, id_text: str = ""
    ) -> Entry:
        """Frame an event; `text` is its JSON and `id_text` its id where they are there already."""
        if text is None or "\n" in text or "\r" in text:  # a line break would end the frame's field
            text = dumps(event)
        type_ = event["type"]
        head = f"id: {id_text or format_id(id_)}\n" if id_ else ""
        frame = f"{head}event: {type_}\ndata: {text}\n\n".encode(errors="replace")
        if type_ != _TEXT:
            return cls(id_, type_, event, frame)
        offset = int(event["offset"])
        return cls(id_, type_, event, frame, offset, offset + len(event["text"]))

    def __repr__(self) -> str:
        return f"Entry({self.id}, {self.type})"  # what it says is its user's

    @property
    def terminal(self) -> bool:
        return self.type in TERMINAL

    @property
    def is_text(self) -> bool:
        return self.type == _TEXT


def parse_entries(replies: Iterable[tuple[str, Sequence[str]]]) -> Iterator[Entry]:
    """Parse what XRANGE or XREAD answered; what is no event is logged and left out."""
    for id_text, fields in replies:
        try:
            text = fields[1] if fields[0] == "e" else dict(zip(fields[::2], fields[1::2], strict=True))["e"]
            entry = Entry.of(_parsed(text), stored_id(id_text), text, id_text)
            if entry.is_text:
                _ = entry.event["count"], entry.event["attempt"], entry.event["step"]
            yield entry
        except (LookupError, TypeError, ValueError):
            log_event(log, LogEvent.ENTRY_UNREADABLE, entry=id_text)


def _parsed(text: str) -> Any:
    """Parse JSON without spaces around it, as it is stored: half the time of `json.loads`."""
    value, end = _decode(text)
    if end != len(text):
        raise ValueError
    return value


def merged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Join batches of one attempt that follow each other: a long history arrives in few frames."""
    run: list[Entry] = []
    for entry in entries:
        if run and not (_joins(run[0], entry) and entry.end - run[0].offset <= MAX_MERGED_CHARACTERS):
            yield _joined(run)
            run = []
        run.append(entry)
    if run:
        yield _joined(run)


def _joins(first: Entry, entry: Entry) -> bool:
    return (
        first.is_text
        and entry.is_text
        and not (first.event.get("thinking") or entry.event.get("thinking"))
        and first.event["attempt"] == entry.event["attempt"]
        and first.event["step"] == entry.event["step"]
    )


def _joined(run: Sequence[Entry]) -> Entry:
    if len(run) == 1:
        return run[0]
    event = {
        **run[0].event,
        "at": run[-1].event["at"],
        "text": "".join(entry.event["text"] for entry in run),
        "count": sum(entry.event["count"] for entry in run),
    }
    return Entry.of(event, run[-1].id)


class PlaceLost(Exception):
    """What comes next does not follow what the reader has."""


@dataclass(slots=True)
class Place:
    """Where a reader is: which entries are still to be sent to it, and whether its text is whole."""

    last: StreamId = BEGINNING
    lost: bool = False
    """True when the text before is not known: batches are withheld until a `resync` or a new attempt."""
    expected: int | None = None
    """The offset at which the text must go on; None when any will do."""

    def takes(self, entry: Entry) -> bool:
        """Move on to `entry` and tell whether the reader gets it.

        Raises:
            PlaceLost: text is missing before it.
        """
        id_, is_text = entry.id, entry.type == _TEXT
        if id_ is not None:
            if id_ <= self.last:
                return False
            if is_text and not self.lost and self.expected is not None and self.expected != entry.offset:
                raise PlaceLost
            self.last = id_
        if is_text:
            if self.lost:
                return False
            self.expected = entry.end
        elif entry.type == EventType.START:
            self.lost, self.expected = False, 0
        elif entry.type == EventType.RESYNC:
            if not self.lost:
                return False
            self.lost, self.expected = False, len(entry.event["text"])
        return True
