"""One reader's SSE connection: history, then what is pushed, until there is an end to it.

It ends after the terminal event; at its rotation time, when the process closes or its channel is gone (with
`retry:`, so that the browser comes back and resumes); when the reader goes away; and when it reads too
slowly, in which case it is cut off, because what waits for it is memory that everybody else needs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from shared.config import StreamSettings
from shared.errors import SluiceError
from shared.stream.entries import Entry, Place, PlaceLost
from shared.stream.follower import Channel
from shared.stream.replay import Extent, replay
from shared.stream.source import Source

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BUFFERED_ENTRIES = 2_000
MAX_BUFFERED_BYTES = 1_000_000
SEND_TIMEOUT_SECONDS = 30.0
RETRY_MS = (200, 2_000)
OPENED = b": open\n\n"  # so that proxies pass the headers on at once
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
HEARTBEAT = b": hb\n\n"


class Finished(Exception):
    """The connection has nothing more to say."""


class Connection:
    """A subscriber of one channel, and the ASGI response that carries it."""

    def __init__(self, receive: Receive, send: Send, settings: StreamSettings, place: Place) -> None:
        self._receive = receive
        self._send = send
        self._settings = settings
        self._place = place
        self._buffer: deque[Entry] = deque()
        self._buffered_bytes = 0
        self._changed = asyncio.Event()
        self._leaving = self._gone = False
        lifetime_seconds = settings.max_connection_seconds * random.uniform(0.85, 0.98)  # noqa: S311 - jitter
        self._ends_at = time.monotonic() + lifetime_seconds

    # -- what others call: never blocks ---------------------------------------------------------------------

    def push(self, entry: Entry) -> None:
        self._buffer.append(entry)
        self._buffered_bytes += len(entry.frame)
        self._changed.set()
        if len(self._buffer) > MAX_BUFFERED_ENTRIES or self._buffered_bytes > MAX_BUFFERED_BYTES:
            self._cut_off()

    def leave(self) -> None:
        self._leaving = True
        self._changed.set()

    # -- the response ---------------------------------------------------------------------------------------

    async def run(
        self, source: Source, channel: Channel, extent: Extent, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Answer with the channel's events; returns when the response is complete or the reader is gone."""
        await self._send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        watching = asyncio.create_task(self._watch())
        try:
            await self._end(await self._tell(source, channel, extent))
        except TimeoutError:
            self._cut_off()
        finally:
            watching.cancel()

    async def _tell(self, source: Source, channel: Channel, extent: Extent) -> bytes:
        """Send history, then what comes, to the end; return what the last frame is to be."""
        try:
            await self._write(OPENED)
            async for entries in replay(source, channel.key, extent, self._place):
                await self._deliver(entries)
            if channel.stalled is not None and not self._buffer:
                await self._write(channel.stalled.frame)
            while not self._leaving:
                await self._live()
        except Finished:
            return b""
        except (PlaceLost, SluiceError) as error:
            log.warning("a reader is sent back to resume: %r", error)
        return _retry()  # its own place says where to go on

    async def end_with(self, entry: Entry, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer with one last event and nothing else."""
        await self._send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await self._end(entry.frame)

    async def _live(self) -> None:
        """Send what waits, or wait for it as long as a heartbeat allows."""
        if self._buffer:
            entries = list(self._buffer)
            self._buffer.clear()
            self._buffered_bytes = 0
            await self._deliver([entry for entry in entries if self._place.takes(entry)])
            return
        self._changed.clear()
        left_seconds = self._ends_at - time.monotonic()
        if self._gone:
            raise Finished
        if left_seconds <= 0:
            self.leave()
        elif not self._leaving and await self._is_silent(min(self._settings.heartbeat_seconds, left_seconds)):
            await self._write(HEARTBEAT)

    async def _is_silent(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return True
        return False

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        if entries:
            await self._write(b"".join(entry.frame for entry in entries))
        if self._gone or any(entry.terminal for entry in entries):
            raise Finished

    async def _write(self, frames: bytes) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await self._send({"type": "http.response.body", "body": frames, "more_body": True})

    async def _end(self, frames: bytes) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await self._send({"type": "http.response.body", "body": frames, "more_body": False})

    async def _watch(self) -> None:
        """Wait for the reader to go away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._changed.set()

    def _cut_off(self) -> None:
        """Close the connection without waiting for a reader that does not read.

        ASGI has no word for it: ending the response waits until the reader has taken what is buffered,
        which it may never do. So the server's transport is looked up behind its `receive` (uvicorn); on a
        server without one the response just ends.
        """
        self._gone = True
        self._buffer.clear()
        self._buffered_bytes = 0
        self._changed.set()
        transport = getattr(getattr(self._receive, "__self__", None), "transport", None)
        if isinstance(transport, asyncio.Transport):
            # Reset, or the kernel would keep what the reader has not taken for as long as it stays connected.
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()


def _retry() -> bytes:
    """Spread the readers of one process that come back at the same time."""
    return f"retry: {random.randint(*RETRY_MS)}\n\n".encode()  # noqa: S311 - jitter
