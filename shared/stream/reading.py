"""One blocking XREAD over a changing set of channels, on a connection of its own.

    add ─▶ CLIENT UNBLOCK, unless a read that lists it is about to be sent ─▶ XREAD BLOCK ─▶ Channel.deliver

No channel: no command. What is added while a read is under way is listed by the next, and the one under way
is ended from another connection, however many are added meanwhile: between two reads there is a pause that
grows with the list, so that a storm of newcomers costs a bounded share of Redis's time, and busy streams
arrive several to a reply. With Redis away every channel keeps its cursor and goes on from there (D31, D34).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shared.errors import StoreUnavailable
from shared.logs import LogEvent, event
from shared.state.store import ANSWER_TIMEOUT_SECONDS, CommandRefused
from shared.stream.channels import Channel, packed
from shared.stream.source import Command, Source

log = logging.getLogger(__name__)
BLOCK_SECONDS = 30.0
"""How long a read waits for anything new: all that an idle bridge with readers costs. A Redis that is gone
without a word is noticed sooner, by the connection's keepalive."""
BLOCK_SECONDS_WITHOUT_WAKING = 0.5
"""The bound on a new channel's wait where Redis does not know CLIENT UNBLOCK."""
CLIENT_ID = b"*2\r\n" + packed("CLIENT") + packed("ID")
MAX_ENTRIES_PER_STREAM = 100
WAKE_PAUSE_SECONDS = 0.002
PAUSE_SECONDS = 0.001
"""The shortest that every event loop tells from none."""
PAUSE_SECONDS_SPARSE = 0.004
"""After a reply of one stream of several: each batch would cost a read of its own, and reads are billed."""
PAUSE_SECONDS_PER_CHANNEL, PAUSE_SECONDS_PER_CHANNEL_WOKEN = 0.000_000_5, 0.000_003
"""To list a channel costs Redis about 0.5 µs: so a storm of newcomers takes a sixth of its time."""
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.05, 2.0
STREAMS_AT_ONCE = 32
"""Streams whose entries are handed out before the connections get to write."""


def pause_seconds(listed: int, answered: int) -> float:
    """Return how long after a reply the next read is sent at the earliest.

    Args:
        listed: streams that the read listed.
        answered: those of them that had something; none when a newcomer ended the read.
    """
    share = PAUSE_SECONDS_PER_CHANNEL if answered else PAUSE_SECONDS_PER_CHANNEL_WOKEN
    shortest = PAUSE_SECONDS_SPARSE if answered == 1 < listed else PAUSE_SECONDS
    return max(shortest, listed * share)


class Reading:
    """Reads a set of channels as long as there are any, through every fault of Redis.

    Args:
        spoke: told which channels had something new, after it was pushed.
    """

    def __init__(
        self,
        source: Source,
        *,
        block_seconds: float = BLOCK_SECONDS,
        spoke: Callable[[list[Channel]], None] | None = None,
    ) -> None:
        self._source = source
        self._block_seconds = block_seconds
        self._spoke = spoke
        self._channels: dict[str, Channel] = {}
        self._running: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        self._blocked_client: int | None = None
        self._unlisted = False
        self._backoff_seconds = MIN_BACKOFF_SECONDS
        self.faults = 0
        """How often Redis was lost; whoever watches for it may have to look what is left."""

    @property
    def channels(self) -> Mapping[str, Channel]:
        return self._channels

    def add(self, channels: Iterable[Channel]) -> None:
        """Read these too, from their cursors."""
        self._channels |= {channel.key: channel for channel in channels}
        self._unlisted = True
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        elif self._blocked_client is not None and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake())

    def discard(self, channel: Channel) -> None:
        """Read it no more. The read under way still lists it, and what that brings is dropped."""
        if self._channels.get(channel.key) is channel:
            del self._channels[channel.key]

    def end(self) -> None:
        """Give up the read under way, since nobody is left: its connection closes, at no command."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _run(self) -> None:
        self._backoff_seconds = MIN_BACKOFF_SECONDS
        while self._channels:
            try:
                patience_seconds = self._block_seconds + ANSWER_TIMEOUT_SECONDS
                async with self._source.own_connection(patience_seconds) as command:
                    await self._read(command)
            except (StoreUnavailable, CommandRefused) as error:
                self.faults += 1
                seconds = self._backoff_seconds
                event(log, LogEvent.READING_INTERRUPTED, error=error, delay_ms=round(seconds * 1000))
                await asyncio.sleep(seconds * random.uniform(0.5, 1))  # noqa: S311 - jitter
                self._backoff_seconds = min(MAX_BACKOFF_SECONDS, seconds * 2)
            except Exception as error:  # noqa: BLE001 - a reader goes on; told with its stack
                event(log, LogEvent.READING_FAILED, error=error, traced=True)
                await asyncio.sleep(MAX_BACKOFF_SECONDS)

    async def _read(self, command: Command) -> None:
        client_id = int(await command(CLIENT_ID))
        while self._channels:
            self._unlisted = False
            channels = list(self._channels.values())
            self._blocked_client = client_id
            try:
                reply = await command(self._xread(channels))
            finally:
                self._blocked_client = None
            self._backoff_seconds = MIN_BACKOFF_SECONDS
            answered_at = time.monotonic()
            await self._deliver(reply or ())
            # Handing out was a pause too: more has gathered meanwhile.
            pause_until = answered_at + pause_seconds(len(channels), len(reply or ()))
            await asyncio.sleep(max(0.0, pause_until - time.monotonic()))

    def _xread(self, channels: list[Channel]) -> bytes:
        """Return the command as it travels: packing thousands of arguments takes longer than the read."""
        block_ms = max(1, round(self._block_seconds * 1000))
        head = ("XREAD", "COUNT", str(MAX_ENTRIES_PER_STREAM), "BLOCK", str(block_ms), "STREAMS")
        keys, cursors = [each.packed_key for each in channels], [each.packed_cursor for each in channels]
        count = len(head) + 2 * len(channels)
        return b"".join([b"*%d\r\n" % count, *map(packed, head), *keys, *cursors])

    async def _deliver(self, reply: Iterable[tuple[str, Any]]) -> None:
        spoke: list[Channel] = []
        for number, (key, entries) in enumerate(reply, start=1):
            if channel := self._channels.get(key):
                channel.deliver(entries)
                spoke.append(channel)
            if number % STREAMS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if spoke and self._spoke:
            self._spoke(spoke)

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
