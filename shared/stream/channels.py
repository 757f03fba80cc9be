"""Channels: the streams that somebody of this process follows, and who follows each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.state.keys import TaskRef
from shared.stream.entries import Entry, StreamId, format_id, parse_entries, stored_id


def packed(text: str) -> bytes:
    """Return a text as an argument in Redis's protocol."""
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


class Subscriber(Protocol):
    """Who is told of new entries; neither call may block."""

    def push(self, entries: Sequence[Entry]) -> None: ...

    def leave(self) -> None:
        """End, for the reader to come back."""


@dataclass(eq=False, slots=True)
class Channel:
    """One followed stream."""

    ref: TaskRef
    key: str
    subscribers: set[Subscriber] = field(default_factory=set)
    cursor: StreamId | None = None
    """The last entry that was pushed; None until somebody has begun."""
    packed_key: bytes = b""
    packed_cursor: bytes = b""
    """The key and the cursor as they travel to Redis: packed once, sent with each read."""
    last_type: str = ""
    """The type of the last event that was stored; empty when none is known."""
    heard_at: float = field(default_factory=time.monotonic)
    """When the last event was stored, on this process's monotonic clock."""
    stirred_at: float = field(default_factory=time.monotonic)
    """When it last began or spoke: what decides which of the shared reads lists it."""
    stalled: Entry | None = None
    """What newcomers must be told, while the task stays stalled."""

    def follow_from(self, cursor: StreamId) -> None:
        self.cursor, self.packed_cursor = cursor, packed(format_id(cursor))
        self.packed_key = self.packed_key or packed(self.key)

    def push(self, entries: Sequence[Entry]) -> None:
        for subscriber in tuple(self.subscribers):
            subscriber.push(entries)

    def dismiss(self) -> None:
        """Send every reader away to come back, and find out what has become of the task."""
        for subscriber in tuple(self.subscribers):
            subscriber.leave()

    def deliver(self, replies: Sequence[tuple[str, Any]]) -> None:
        """Push what is new of a stream's entries."""
        if self.cursor is None:
            return
        cursor = self.cursor
        if new := [entry for entry in parse_entries(replies) if entry.id is not None and entry.id > cursor]:
            self.heard_at = self.stirred_at = time.monotonic()
            self.last_type, self.stalled = new[-1].type, None
            self.push(new)
        if (last := stored_id(replies[-1][0])) > cursor:
            self.follow_from(last)
