"""A front: one function's public address, which never changes, and behind it the revisions that serve it.

Each request, not each connection, is led to a revision, in exact proportion to the weights. Bodies are passed
on piece by piece, both ways, as they come: an event stream reaches its reader while it is made. The request
target and the headers arrive as they were sent: a signature covers the former byte for byte. As on a cloud,
the platform's own time-out ends what takes too long, and a function that cannot be reached is 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
CONNECT_SECONDS = 5.0
RETRY_STARTING_SECONDS = 1
RETRY_STOPPED_SECONDS = 60
_PER_CONNECTION = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class Upstream(Protocol):
    """One revision that takes calls."""

    port: int | None
    """Where it listens; None while it does not."""
    in_flight: int

    @property
    def timeout_seconds(self) -> float:
        """Return how long a request may take."""


class _CallerGone(Exception):
    """The caller has hung up: nobody waits for the answer."""


@dataclass
class Weights:
    """Which revision the next request goes to: in exact proportion, evenly mixed, the same each time."""

    shares: Mapping[Any, int] = field(default_factory=dict)
    _credit: dict[Any, int] = field(default_factory=dict)

    def set(self, shares: Mapping[Any, int]) -> None:
        if shares != self.shares:
            self.shares = dict(shares)
            self._credit = dict.fromkeys(shares, 0)

    def next(self) -> Any:
        """Return who is next; None when there is nobody."""
        if not self.shares:
            return None
        for each, share in self.shares.items():
            self._credit[each] += share
        chosen = max(self._credit, key=lambda each: self._credit[each])
        self._credit[chosen] -= sum(self.shares.values())
        return chosen


class Front:
    """The ASGI application at a function's address."""

    def __init__(self, function: str) -> None:
        self.function = function
        self.weights = Weights()
        self.stopped = False
        # A connection of its own for each request: one that is kept may be closed by the function at the very
        # moment in which it is used again, and nobody could tell whether the request has run.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self.stopped:
            await _refuse(send, 503, "stopped", "This function has been stopped.", RETRY_STOPPED_SECONDS)
            return
        upstream: Upstream | None = self.weights.next()
        if upstream is None or upstream.port is None:
            await self._unavailable(send)
            return
        upstream.in_flight += 1
        try:
            await _Exchange(scope, receive, send, upstream, self._transport).run()
        except httpx.ConnectError:
            await self._unavailable(send)
        finally:
            upstream.in_flight -= 1

    async def _unavailable(self, send: Send) -> None:
        text = f"No revision of {self.function} listens right now."
        await _refuse(send, 503, "unavailable", text, RETRY_STARTING_SECONDS)


@dataclass
class _Exchange:
    """One request and its answer."""

    scope: Scope
    receive: Receive
    send: Send
    upstream: Upstream
    transport: httpx.AsyncHTTPTransport
    answering: bool = False
    _sent: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Relay until the answer is complete, the caller is gone, or the platform's time-out has passed."""
        relay = asyncio.ensure_future(self._relay_in_time())
        gone = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait({relay, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (relay, gone):
                task.cancel()
            outcomes = await asyncio.gather(relay, gone, return_exceptions=True)
        relayed = outcomes[0]
        if isinstance(relayed, Exception) and not isinstance(relayed, _CallerGone):
            raise relayed

    async def _relay_in_time(self) -> None:
        try:
            async with asyncio.timeout(self.upstream.timeout_seconds):
                await self._relay()
        except TimeoutError:
            await self._failed(504, "timeout", "The function did not answer in time.")
        except httpx.ConnectError:
            raise
        except httpx.TransportError as error:
            await self._failed(
                502, "bad_gateway", f"The function ended in mid-answer ({type(error).__name__})."
            )

    async def _failed(self, status: int, code: str, text: str) -> None:
        if self.answering:
            # A caller must not take a part for the whole: the server cuts the connection when this gets out.
            raise ConnectionAbortedError(text)
        await _refuse(self.send, status, code, text)

    async def _relay(self) -> None:
        response = await self.transport.handle_async_request(self._request())
        try:
            headers = [(name.lower(), value) for name, value in response.headers.raw]
            kept = [(name, value) for name, value in headers if name not in _PER_CONNECTION]
            self.answering = True
            await self.send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            async for piece in response.aiter_raw():
                await self.send({"type": "http.response.body", "body": piece, "more_body": True})
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()

    def _request(self) -> httpx.Request:
        headers = [(name, value) for name, value in self.scope["headers"] if name not in _PER_CONNECTION]
        names = {name for name, _value in self.scope["headers"]}
        has_body = b"content-length" in names or b"transfer-encoding" in names
        if not has_body:
            self._sent.set()
        query = self.scope["query_string"]
        target = self.scope["raw_path"] + (b"?" + query if query else b"")
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS).as_dict()
        return httpx.Request(
            self.scope["method"],
            f"http://127.0.0.1:{self.upstream.port}",
            headers=headers,
            content=self._body() if has_body else None,
            extensions={"target": target, "timeout": timeout},
        )

    async def _body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise _CallerGone
            more = message.get("more_body", False)
            if piece := message.get("body"):
                yield piece
        self._sent.set()

    async def _until_gone(self) -> None:
        """Return when the caller hangs up; who sends the body hears of it himself."""
        await self._sent.wait()
        with contextlib.suppress(asyncio.CancelledError):
            while (await self.receive())["type"] != "http.disconnect":
                pass


async def _refuse(send: Send, status: int, code: str, text: str, retry_seconds: int | None = None) -> None:
    body = json.dumps({"ok": False, "error": code, "message": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if retry_seconds is not None:
        headers.append((b"retry-after", str(retry_seconds).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
