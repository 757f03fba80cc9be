"""What a reader has missed: history page by page, or, where it was trimmed, the whole text in one `resync`.

History is whole for a reader whose place is still in the stream, and for any reader while the stream begins
with its first event ever. Otherwise text is missing before what is left, and what is left is folded: from
the newest place where the whole text is known (an attempt's start, or a snapshot that its writer left) to
its last batch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.stream.entries import (
    BEGINNING,
    Entry,
    Place,
    StreamId,
    format_id,
    merged,
    parse_entries,
    stored_id,
)
from shared.stream.events import EventType
from shared.stream.source import Source

PAGE_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Extent:
    """A stream's first and last entries; both None when there is no stream."""

    first: Entry | None
    last: Entry | None

    @property
    def last_id(self) -> StreamId:
        return self.last.id if self.last and self.last.id else BEGINNING

    def is_whole_after(self, after: StreamId) -> bool:
        """Tell whether everything after `after` is still there."""
        if self.first is None or self.first.id is None:
            return True
        if after > self.last_id:
            return False  # a place in a stream that Redis has lost
        event = self.first.event
        return after >= self.first.id or (self.first.type == EventType.QUEUED and event.get("step") == 0)

    def was_seen_to_its_end(self, after: StreamId) -> bool:
        return self.last is not None and self.last.terminal and after >= self.last_id


async def read_extent(source: Source, key: str) -> Extent:
    """Read a stream's ends. Raises StoreUnavailable."""
    first, last = await source.pipeline(
        ("XRANGE", key, "-", "+", "COUNT", 1), ("XREVRANGE", key, "+", "-", "COUNT", 1)
    )
    return Extent(next(parse_entries(first), None), next(parse_entries(last), None))


async def replay(source: Source, key: str, extent: Extent, place: Place) -> AsyncIterator[list[Entry]]:
    """Yield what the reader at `place` has missed, in bounded portions, and move its place along."""
    if extent.is_whole_after(place.last):
        async for page in _pages(source, key, place.last):
            yield list(merged(entry for entry in page if place.takes(entry)))
        return
    if place.last > extent.last_id:
        place.last = BEGINNING  # in a stream that is gone: nothing of this one has been seen
    yield await resynced(source, key, place)


async def resynced(source: Source, key: str, place: Place) -> list[Entry]:
    """Return the whole text so far in one `resync` and what else is new at `place`, and move it along."""
    fold = Fold()
    async for page in _pages(source, key, BEGINNING):
        fold.add(page)
    entries = [entry for entry in fold.entries() if (entry.id or BEGINNING) > place.last]
    if fold.last > place.last:
        place.last, place.lost, place.expected = fold.last, fold.text is None, fold.length
    return entries


async def _pages(source: Source, key: str, after: StreamId) -> AsyncIterator[Iterable[Entry]]:
    while True:
        page = await source.command("XRANGE", key, f"({format_id(after)}", "+", "COUNT", PAGE_ENTRIES)
        if page:
            after = stored_id(page[-1][0])
            yield parse_entries(page)
        if len(page) < PAGE_ENTRIES:
            return


@dataclass(slots=True)
class Fold:
    """Entries folded into the whole text that they tell, and the events beside it."""

    last: StreamId = BEGINNING
    text: list[str] | None = None
    length: int | None = None
    _told_by: Entry | None = None
    _beside: list[Entry] = field(default_factory=list)

    def add(self, page: Iterable[Entry]) -> None:
        for entry in page:
            self.last = entry.id or self.last
            if entry.type == EventType.START:
                self._beside.append(entry)
                self._tell(entry, "")
            elif entry.type == EventType.RESYNC:
                self._tell(entry, entry.event["text"])
            elif entry.is_text:
                self._append(entry)
            else:
                self._beside.append(entry)

    def _tell(self, entry: Entry, text: str) -> None:
        self.text, self.length, self._told_by = [text], len(text), entry

    def _append(self, entry: Entry) -> None:
        if entry.event["offset"] == 0:
            self._tell(entry, entry.event["text"])
        elif self.text is not None and entry.event["offset"] == self.length:
            self.text.append(entry.event["text"])
            self.length, self._told_by = entry.end, entry
        else:
            self.text, self.length, self._told_by = None, None, None

    def entries(self) -> list[Entry]:
        """Return the events beside the text, with one `resync` at its place that carries the text."""
        if self._told_by is None or self.text is None:
            return self._beside
        resync = _resync(self._told_by, "".join(self.text))
        return sorted([*self._beside, resync], key=lambda entry: (entry.id or BEGINNING, entry is resync))


def _resync(at: Entry, text: str) -> Entry:
    through = at.id or BEGINNING
    event: dict[str, Any] = {
        "type": EventType.RESYNC,
        **{name: at.event[name] for name in ("taskId", "attempt", "at", "step")},
        "text": text,
        "throughId": format_id(through),
    }
    return Entry.of(event, through)
