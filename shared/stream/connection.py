"""One reader's SSE connection: history, then what is pushed, until there is an end to it.

    opened ─▶ catching up ─▶ idle ◀─▶ writing ─▶ ended       (the end; rotation, the process closes: `retry:`)
                  ▲                      │
                  └────── behind ◀───────┴─▶ cut off         (a reader that does not take what it is sent)

A connection at rest is one coroutine that waits for its reader to go away: it has no timer (the pulse tells
it the time) and no task of its own until there is something to write, which then goes out in one piece.

What waits for a slow reader is bounded. Beyond the bound it is dropped, since Redis has it, and the reader is
*behind*: once its socket takes data again it gets the whole text so far in one `resync` and goes on from
there. A reader that takes nothing for a while is cut off, and resumes from its own place when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from shared.config import StreamSettings
from shared.errors import SluiceError
from shared.logs import LogEvent, event
from shared.stream.channels import Channel
from shared.stream.eager import run_eagerly
from shared.stream.entries import Entry, Place, PlaceLost
from shared.stream.events import EventType
from shared.stream.replay import Extent, replay, resynced
from shared.stream.source import Source
from shared.stream.transports import bound_kernel_buffer, reset

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

MAX_BUFFERED_ENTRIES = 256
MAX_BUFFERED_BYTES = 131_072
"""What waits for one reader here; the server holds half as much again, the kernel as much."""
SEND_SECONDS = 30.0
SEND_SECONDS_BEHIND = 5.0
"""How long one write may wait for its reader to take what was written before."""
RETRY_MS = (200, 2_000)
HEARTBEAT_SHARE = (0.8, 1.0)
LIFETIME_SHARE = (0.85, 0.98)
"""Readers that came at the same moment get their heartbeats and ends at different ones."""
OPENED = b": open\n\n"  # so that proxies pass the headers on at once
HEARTBEAT = b": hb\n\n"


class Connection:
    """A subscriber of one channel, and the ASGI response that carries it."""

    __slots__ = (
        *(
            "channel",
            "_receive",
            "_send",
            "_heartbeat_seconds",
            "_place",
            "_source",
            "_extent",
            "_headers",
            "_writing",
        ),
        *("_buffer", "_buffered_bytes", "_started", "_behind", "_leaving", "_beating", "_over"),
        *("_sending_since", "_beats_at", "_ends_at"),
    )

    def __init__(self, receive: Receive, send: Send, settings: StreamSettings, place: Place) -> None:
        self._receive = receive
        self._send = send
        self._place = place
        self._source: Source | None = None
        self.channel: Channel | None = None
        """What it subscribes to, once it does."""
        self._extent: Extent | None = None
        self._headers: Headers = ()
        self._buffer: deque[Entry] | None = None
        self._buffered_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._started = self._behind = self._leaving = self._beating = self._over = False
        self._sending_since: float | None = None
        now = time.monotonic()
        self._heartbeat_seconds = settings.heartbeat_seconds * _jitter(HEARTBEAT_SHARE)
        self._beats_at = now + self._heartbeat_seconds
        self._ends_at = now + settings.max_connection_seconds * _jitter(LIFETIME_SHARE)

    # -- what others call: never blocks ---------------------------------------------------------------------

    def push(self, entries: Sequence[Entry]) -> None:
        if self._behind:
            return
        if len(entries) == 1 and self._is_idle():
            self._writing = run_eagerly(self._write_out(entries))
            return
        if self._buffer is None:
            self._buffer = deque()
        self._buffer.extend(entries)
        for entry in entries:
            if entry.type != EventType.RESYNC:  # a snapshot is as long as the text, and few readers need it
                self._buffered_bytes += len(entry.frame)
        count = len(self._buffer)
        if count > MAX_BUFFERED_ENTRIES or (count > 1 and self._buffered_bytes > MAX_BUFFERED_BYTES):
            self._fall_behind()
        self._write_soon()

    def leave(self) -> None:
        self._leaving = True
        self._write_soon()

    def tick(self, now: float) -> None:
        """Do what is due at `now`, of the monotonic clock."""
        if self._sending_since is not None:
            hurried = self._behind or self._leaving
            if now - self._sending_since > (SEND_SECONDS_BEHIND if hurried else SEND_SECONDS):
                self._cut_off()
        elif now >= self._ends_at:
            self.leave()
        elif now >= self._beats_at:
            self._beating = True
            self._write_soon()

    # -- the response ---------------------------------------------------------------------------------------

    def prepare(self, source: Source, extent: Extent, headers: Headers) -> None:
        """Take what the response needs; most of it is let go once it has begun."""
        self._source, self._extent, self._headers = source, extent, headers

    async def __call__(self, _scope: Message, receive: Receive, send: Send) -> None:
        """Answer with the channel's events; returns when the response is complete or the reader is gone."""
        bound_kernel_buffer(receive)
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        self._headers, self._started = (), True
        self._write_soon()
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._over = True
            if self._writing is not None:
                self._writing.cancel()

    # -- writing: a task that lives as long as there is something to write ----------------------------------

    def _write_soon(self) -> None:
        if self._is_idle():
            self._writing = run_eagerly(self._write_out())
        elif self._writing is None and self._started and not self._over:  # Redis is asked first
            self._writing = asyncio.get_running_loop().create_task(self._write_out())

    def _is_idle(self) -> bool:
        return (
            self._writing is None
            and self._extent is None
            and self._started
            and not (self._behind or self._over)
        )

    async def _write_out(self, new: Sequence[Entry] = ()) -> None:
        try:
            if new:
                await self._deliver(self._taken(new))
            if not new or self._buffer or self._leaving or self._beating or self._behind:
                await self._write_all()
        except (PlaceLost, SluiceError) as error:
            event(log, LogEvent.READER_SENT_BACK, error=error, task=self._task_id)
            await self._write(_retry(), last=True)  # its own place says where to go on
        except Exception as error:  # noqa: BLE001 - the connection's edge; told with its stack
            event(log, LogEvent.CONNECTION_FAILED, error=error, traced=True, task=self._task_id)
            self._cut_off()
        finally:
            self._writing = None

    async def _write_all(self) -> None:
        """Return once nothing is left to write, without waiting for anything after having looked."""
        if self._extent is not None:
            await self._tell_history(self._extent)
        while not self._over:
            if self._behind:
                await self._catch_up()
            elif self._buffer:
                entries, self._buffer, self._buffered_bytes = self._buffer, None, 0
                await self._deliver(self._taken(entries))
            elif self._leaving:
                await self._write(_retry(), last=True)
            elif self._beating:
                await self._write(HEARTBEAT)
            else:
                return

    async def _tell_history(self, extent: Extent) -> None:
        await self._write(OPENED)
        assert self.channel is not None
        assert self._source is not None
        async for entries in replay(self._source, self.channel.key, extent, self._place):
            await self._deliver(entries)
        self._extent = None
        await self._tell_stall()

    async def _catch_up(self) -> None:
        """Tell a reader that was behind what it has missed; what is pushed from now on waits for it again."""
        self._behind = False
        assert self.channel is not None
        assert self._source is not None
        await self._deliver(await resynced(self._source, self.channel.key, self._place))
        await self._tell_stall()

    async def _tell_stall(self) -> None:
        if self.channel is not None and self.channel.stalled is not None and not self._buffer:
            await self._write(self.channel.stalled.frame)

    def _taken(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return what the reader has not had, and move its place along."""
        takes = self._place.takes
        return [entry for entry in entries if takes(entry)]

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        if len(entries) == 1:
            await self._write(entries[0].frame, last=entries[0].terminal)
        elif entries:
            last = any(entry.terminal for entry in entries)
            await self._write(b"".join([entry.frame for entry in entries]), last=last)

    async def _write(self, frames: bytes, *, last: bool = False) -> None:
        if self._over:
            return
        self._over, self._beating = last, False
        self._sending_since = now = time.monotonic()
        self._beats_at = now + self._heartbeat_seconds
        await self._send({"type": "http.response.body", "body": frames, "more_body": not last})
        self._sending_since = None

    @property
    def _task_id(self) -> str | None:
        return self.channel.ref.task_id if self.channel is not None else None

    # -- readers that do not read ---------------------------------------------------------------------------

    def _fall_behind(self) -> None:
        self._behind = True
        self._buffer, self._buffered_bytes = None, 0

    def _cut_off(self) -> None:
        """Close the connection without waiting for a reader that does not read."""
        event(log, LogEvent.READER_CUT_OFF, task=self._task_id, behind=self._behind)
        self._fall_behind()
        self._over = True
        reset(self._receive)


def _jitter(share: tuple[float, float]) -> float:
    return random.uniform(*share)  # noqa: S311 - jitter


def _retry() -> bytes:
    """Spread the readers of one process that come back at the same time."""
    return f"retry: {random.randint(*RETRY_MS)}\n\n".encode()  # noqa: S311 - jitter
