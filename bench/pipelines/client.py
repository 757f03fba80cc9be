"""The one reader of all pipelines: sends a task and keeps what arrives when, and parses it only afterwards.

A connection for each request, as from many browsers. Raw asyncio: a client library's time would be in every
figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit


class Failed(Exception):
    """A pipeline did not take a task, or did not end an answer in time."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "Connection": "close", **self.headers}
        if self.method == "POST":
            headers |= {"Content-Length": str(len(self.body)), "Content-Type": "application/json"}
        lines = [f"{self.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Exchange(asyncio.Protocol):
    """One request and all that came back, with the time of each piece."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.received: list[tuple[int, bytes]] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def task_id(self) -> str:
        """The last part of the path: how every subject names a task in the address of its stream."""
        return urlsplit(self.request.url).path.rpartition("/")[2]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self.request.to_bytes())  # uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        self.received.append((time.monotonic_ns(), data))

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def exchange(request: Request, deadline_seconds: float, *, partial: bool = False) -> Exchange:
    """Send a request and return all that came until the other side closed.

    Args:
        request: what is sent.
        deadline_seconds: how long it may take.
        partial: return what there is by then, instead of raising.

    Raises:
        Failed: the other side had not closed by the deadline.
    """
    parts = urlsplit(request.url)
    loop = asyncio.get_running_loop()
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    transport, protocol = await loop.create_connection(lambda: Exchange(request), host, port)
    try:
        await asyncio.wait_for(asyncio.shield(protocol.ended), deadline_seconds)
    except TimeoutError:
        if not partial:
            raise Failed(f"{request.url} had not ended after {deadline_seconds:g} s") from None
    finally:
        transport.close()
    return protocol


async def call(request: Request, deadline_seconds: float) -> bytes:
    """Send a request and return the body of its answer.

    Raises:
        Failed: it was refused, or not answered in time.
    """
    done = await exchange(request, deadline_seconds)
    head, _, body = b"".join(data for _, data in done.received).partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if not status or not status[0].startswith(b"2"):
        raise Failed(f"{request.method} {request.url}: {head[:200]!r} {body[:400]!r}")
    return body
