"""What the bridge tells of its connections, as spans and measurements: the bridge, observed from outside.

    request ─▶ its token names the task's trace ─▶ Bridge ─▶ every write, counted ─▶ the end

There is one only while telemetry is on: a bridge that is not observed does nothing for it, for no connection.
"""

from __future__ import annotations

import re
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request

from shared.auth import StreamAccess
from shared.errors import SluiceError
from shared.stream.bridge import Bridge, channel_of, token_of
from shared.stream.connection import Receive, Send
from shared.telemetry import instruments
from shared.telemetry.attributes import Attribute
from shared.telemetry.signals import Attributes, signals
from shared.telemetry.spans import CONNECTION

ROUTE = CONNECTION.name.removeprefix("GET ")
LAG_EVERY_SECONDS = 1.0
"""At most this often a connection's lag is measured: thousands of them are written to many times a second."""
_AT_MS = re.compile(rb'[{,]"at":([0-9]{13})[,}]')
"""When an event was made; in a text its quotes would be escaped."""


class ObservedBridge(Bridge):
    """The bridge, with a span and measurements for each of its connections."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        writes = Writes(send)
        if (access := self._access(Request(scope))) is None:
            await super().__call__(scope, receive, writes.send)
        else:
            await self._observed(scope, receive, writes, access)
        if not writes.streams:
            told = {**_told(scope), Attribute.STATUS: writes.status}
            signals().record(instruments.REQUEST_DURATION, writes.seconds, told)
        self._end_with_the_last()

    def close(self) -> None:
        super().close()
        self._end_with_the_last()

    def _end_with_the_last(self) -> None:
        """Send the last spans once nobody reads any more: the server ends by a signal, which runs nothing."""
        if self.is_closing and not self.connections:
            signals().end()

    async def _observed(
        self, scope: MutableMapping[str, Any], receive: Receive, writes: Writes, access: StreamAccess
    ) -> None:
        about: Attributes = {Attribute.TASK: access.task_id, Attribute.RESUMED: _resumes(Request(scope))}
        span = signals().span(
            CONNECTION,
            attributes={**_told(scope), **about},
            parent=access.traceparent,
            began_ns=time.time_ns(),
        )
        with span:
            try:
                await super().__call__(scope, receive, writes.send)
            finally:
                writes.end()
                span.set(Attribute.STATUS, writes.status)
                span.set(Attribute.EVENTS, writes.events)
                span.set(Attribute.BYTES, writes.bytes)

    def _access(self, request: Request) -> StreamAccess | None:
        """Return what a GET's token opens; None when it opens nothing, which the bridge says itself."""
        channel = channel_of(request)
        if channel is None or request.method != "GET":
            return None
        with suppress(SluiceError):
            return self.tokens.open(token_of(request), *channel)
        return None


class Writes:
    """What is sent on one connection, counted on its way."""

    __slots__ = ("_began", "_began_ms", "_measures_at", "_send", "bytes", "events", "status", "streams")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began, self._began_ms = time.monotonic(), time.time() * 1000
        self._measures_at = self._began
        self.status = self.bytes = self.events = 0
        self.streams = False
        """Whether it is a stream of events, and not an answer of one piece."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._begin(message)
        else:
            self._count(message.get("body", b""))
        await self._send(message)

    def end(self) -> None:
        if self.streams:
            signals().add(instruments.CONNECTIONS, -1)

    def _begin(self, message: MutableMapping[str, Any]) -> None:
        kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
        self.streams = kinds[:1] != [] and kinds[0].startswith(b"text/event-stream")
        if self.streams:
            signals().add(instruments.CONNECTIONS, 1)

    def _count(self, body: bytes) -> None:
        self.bytes += len(body)
        events = body.count(b"\nevent: ")
        self.events += events
        if events and (now := time.monotonic()) >= self._measures_at:
            self._measure(body, now)

    def _measure(self, body: bytes, now: float) -> None:
        """Measure how late a write's oldest event is; what was made before the reader came is history."""
        at = _AT_MS.search(body)
        if at and int(at[1]) >= self._began_ms:
            self._measures_at = now + LAG_EVERY_SECONDS
            signals().record(instruments.LAG, max(0.0, time.time() - int(at[1]) / 1000))


def _told(scope: MutableMapping[str, Any]) -> Attributes:
    method, is_channel = scope["method"], channel_of(Request(scope)) is not None
    return {
        Attribute.METHOD: method if method in {"GET", "HEAD", "OPTIONS"} else "_OTHER",
        Attribute.ROUTE: ROUTE if is_channel else None,
        Attribute.SCHEME: scope["scheme"],
    }


def _resumes(request: Request) -> bool:
    return "last-event-id" in request.headers or "after" in request.query_params
