"""The shared reader: one blocking XREAD over every stream that anybody follows, for a whole process.

    join ─▶ (the reader asks for the stream's last entry) ─▶ begin ─▶ history, by XRANGE ─▶ live, pushed

Nobody following: no command. A stream that is new to the command in flight is added by CLIENT UNBLOCK from
another connection. With Redis away, every channel keeps its cursor and goes on from there (D31, D32, D34).

No gap, no double: a reader joins before it asks for the stream's last id, and reads history after `begin`.
So what is at or before the channel's cursor is in its history, what is after is pushed, and its own place
drops what is in both.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.errors import StoreUnavailable
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.store import ANSWER_TIMEOUT_SECONDS, CommandRefused
from shared.stream.entries import BEGINNING, Entry, StreamId, format_id, parse_entries
from shared.stream.source import Command, Source

log = logging.getLogger(__name__)
BLOCK_SECONDS = 5.0
BLOCK_SECONDS_WITHOUT_WAKING = 0.5
"""The bound on a new reader's wait where Redis does not know CLIENT UNBLOCK."""
MAX_ENTRIES_PER_STREAM = 500
WAKE_PAUSE_SECONDS = 0.002
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 2.0


class Subscriber(Protocol):
    """Who is told of new entries; neither call may block."""

    def push(self, entry: Entry) -> None: ...

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
    heard_at: float = field(default_factory=time.monotonic)
    """When the last event was stored, on this process's monotonic clock."""
    stalled: Entry | None = None
    """What newcomers must be told, while the task stays stalled."""

    def push(self, entry: Entry) -> None:
        for subscriber in tuple(self.subscribers):
            subscriber.push(entry)


class Follower:
    """Follows streams for its subscribers, on one connection."""

    def __init__(self, source: Source, *, block_seconds: float = BLOCK_SECONDS) -> None:
        self._source = source
        self._block_seconds = block_seconds
        self._channels: dict[str, Channel] = {}
        self._reading: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        self._blocked_client: int | None = None
        self._unlisted = False
        self._pause_seconds = MIN_PAUSE_SECONDS

    @property
    def channels(self) -> Mapping[str, Channel]:
        return self._channels

    def join(self, ref: TaskRef, subscriber: Subscriber) -> Channel:
        """Register a subscriber; it must `leave` again. Nothing is pushed before somebody has begun."""
        key = keys.events(ref.user_id, ref.service_id, ref.task_id)
        channel = self._channels.setdefault(key, Channel(ref, key))
        channel.subscribers.add(subscriber)
        return channel

    def leave(self, channel: Channel, subscriber: Subscriber) -> None:
        channel.subscribers.discard(subscriber)
        if not channel.subscribers and self._channels.get(channel.key) is channel:
            del self._channels[channel.key]

    def begin(self, channel: Channel, last: StreamId) -> None:
        """Follow a channel from `last`, unless it is followed already."""
        if channel.cursor is not None:
            return
        channel.cursor = last
        if last > BEGINNING:
            channel.heard_at -= max(0.0, time.time() - last[0] / 1000)  # ids tell Redis's clock: near enough
        self._unlisted = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._follow())
        elif self._blocked_client is not None and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake())

    def _followed(self) -> list[Channel]:
        return [channel for channel in self._channels.values() if channel.cursor is not None]

    async def _follow(self) -> None:
        """Read as long as anybody follows anything, through every fault of Redis."""
        self._pause_seconds = MIN_PAUSE_SECONDS
        while self._followed():
            try:
                async with self._source.own_connection(
                    self._block_seconds + ANSWER_TIMEOUT_SECONDS
                ) as command:
                    await self._read(command)
            except (StoreUnavailable, CommandRefused) as error:
                log.warning(
                    "the shared reader lost Redis and goes on in %.2f s: %s", self._pause_seconds, error
                )
                await asyncio.sleep(self._pause_seconds * random.uniform(0.5, 1))  # noqa: S311 - jitter
                self._pause_seconds = min(MAX_PAUSE_SECONDS, self._pause_seconds * 2)
            except Exception:
                log.exception("the shared reader failed and goes on")
                await asyncio.sleep(MAX_PAUSE_SECONDS)

    async def _read(self, command: Command) -> None:
        client_id = int(await command("CLIENT", "ID"))
        while channels := self._followed():
            self._unlisted = False
            streams = [channel.key for channel in channels]
            ids = [format_id(channel.cursor) for channel in channels if channel.cursor is not None]
            block_ms = max(1, round(self._block_seconds * 1000))
            self._blocked_client = client_id
            try:
                reply = await command(
                    *("XREAD", "COUNT", MAX_ENTRIES_PER_STREAM, "BLOCK", block_ms, "STREAMS", *streams, *ids)
                )
            finally:
                self._blocked_client = None
            self._pause_seconds = MIN_PAUSE_SECONDS
            for key, entries in reply or ():
                self._deliver(key, entries)

    def _deliver(self, key: str, entries: Any) -> None:
        """Push what is new. A channel that was left and joined again meanwhile has a cursor of its own."""
        channel = self._channels.get(key)
        if channel is None or channel.cursor is None:
            return
        for entry in parse_entries(entries):
            if entry.id is not None and entry.id > channel.cursor:
                channel.heard_at, channel.stalled = time.monotonic(), None
                channel.push(entry)
        channel.cursor = max(channel.cursor, _last_id(entries))

    async def _wake(self) -> None:
        """End the blocked read until one is under way that lists every channel."""
        while self._unlisted and self._blocked_client is not None:
            try:
                await self._source.command("CLIENT", "UNBLOCK", self._blocked_client)
            except CommandRefused:
                self._block_seconds = min(self._block_seconds, BLOCK_SECONDS_WITHOUT_WAKING)
                return
            except StoreUnavailable:
                return  # the reader notices by itself
            # The read may be on its way to Redis still: then there was nothing to unblock yet.
            await asyncio.sleep(WAKE_PAUSE_SECONDS)


def _last_id(entries: Any) -> StreamId:
    ms, _, number = entries[-1][0].partition("-")
    return int(ms), int(number)
