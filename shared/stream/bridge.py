"""The SSE bridge: `GET /events/{serviceId}/{taskId}`, an ASGI application that only ever reads Redis.

    token ─▶ whose channel ─▶ room? ─▶ join ─▶ what is there: 404 | 204 | one last event | history, live

A stream token opens exactly one channel, and the user in it is part of the stream's key (D35). Everything
that a reader can be refused is decided before the response starts; after that it is only ever told to come
back.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Coroutine, MutableMapping
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.auth import StreamTokens
from shared.config import EventsSettings
from shared.errors import (
    AuthRequired,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    SluiceError,
    StoreUnavailable,
)
from shared.logs import LogEvent, event
from shared.state.keys import TaskRef
from shared.stream.capacity import MAX_CONNECTIONS_PER_CHANNEL, connection_limit
from shared.stream.collector import Collector
from shared.stream.connection import Connection, Receive, Send
from shared.stream.entries import BEGINNING, Place, StreamId, parse_id
from shared.stream.exits import call_on_exit
from shared.stream.follower import Follower
from shared.stream.outcomes import ended_ms, outcome, read_record
from shared.stream.pulse import Pulse
from shared.stream.replay import read_extent
from shared.stream.silence import SilenceWatch
from shared.stream.source import Source

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
METHODS = "GET, HEAD, OPTIONS"
RETRY_SECONDS_FULL = 5
_CHANNEL = re.compile(r"/events/([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})")
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class Bridge:
    """All of one process: its readers, the shared reads, the pulse and the watch over silent tasks."""

    def __init__(self, settings: EventsSettings) -> None:
        self._settings = settings
        self.tokens = StreamTokens(settings.stream_token_secret, second=settings.stream_token_secret_second)
        self._connections: set[Connection] = set()
        self._closing = False

    @cached_property
    def _source(self) -> Source:
        return Source(self._settings.redis.url or "")

    @cached_property
    def _limit(self) -> int:
        return connection_limit()

    @cached_property
    def _follower(self) -> Follower:
        call_on_exit(self.close)  # at the first request: by then the server has installed its own handlers
        return Follower(self._source)

    @cached_property
    def _silence(self) -> SilenceWatch:
        return SilenceWatch(self._source, self._follower, lease_seconds=self._settings.time.lease_seconds)

    @cached_property
    def _pulse(self) -> Pulse:
        stream = self._settings.stream
        finest_seconds = min(stream.heartbeat_seconds, stream.max_connection_seconds)
        beats = (self._follower.settle, Collector().tick)
        return Pulse(self._connections, finest_seconds=finest_seconds, beats=beats)

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def connections(self) -> int:
        """How many readers there are."""
        return len(self._connections)

    def close(self) -> None:
        """End every connection, for its reader to come back elsewhere, and take no more."""
        self._closing = True
        for connection in self._connections:
            connection.leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What decides the answer is let go before it is given: thousands of answers take minutes.
        reply = await self._reply(Request(scope), receive, send)
        began = time.monotonic()
        try:
            await reply(scope, receive, send)
        finally:
            if isinstance(reply, Connection):
                self._forget(reply)
                self._tell(LogEvent.CONNECTION_CLOSED, reply, round((time.monotonic() - began) * 1000))

    async def _reply(self, request: Request, receive: Receive, send: Send) -> Response | Connection:
        try:
            return await self._route(request, receive, send)
        except SluiceError as error:
            return self._refusal(request, error)

    async def _route(self, request: Request, receive: Receive, send: Send) -> Response | Connection:
        channel = channel_of(request)
        if channel is None and request.scope["path"] != "/healthz":
            raise NotFound
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=self._cors(request))
        if request.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed
        if channel is None:
            return JSONResponse({"ok": True})
        service_id, task_id = channel
        user_id = self.tokens.check(token_of(request), service_id, task_id)
        place = Place(resume_place(request) or BEGINNING)
        connection = Connection(receive, send, self._settings.stream, place)
        reply: Response | Connection | None = None
        try:
            self._join(connection, TaskRef(task_id, service_id, user_id))
            reply = await self._events(request, connection, place.last)
        finally:
            if reply is not connection:
                self._forget(connection)
        return reply

    def _join(self, connection: Connection, ref: TaskRef) -> None:
        """Make a connection one of its channel's subscribers.

        Raises:
            StoreUnavailable: this process is full, or closing.
            RateLimited: the channel has too many readers.
        """
        if self._closing:
            raise StoreUnavailable("This server is closing; come back.", retry_after_seconds=1)
        if len(self._connections) >= self._limit:
            raise StoreUnavailable("This server is full; come back.", retry_after_seconds=RETRY_SECONDS_FULL)
        connection.channel = self._follower.join(ref, connection)
        self._connections.add(connection)
        if len(connection.channel.subscribers) > MAX_CONNECTIONS_PER_CHANNEL:
            message = "Too many connections read this task; close some."
            raise RateLimited(message, retry_after_seconds=RETRY_SECONDS_FULL)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection.channel is not None:
            self._follower.leave(connection.channel, connection)

    async def _events(
        self, request: Request, connection: Connection, after: StreamId
    ) -> Response | Connection:
        """Return the connection if there is, or will be, more than one event to tell.

        Raises:
            NotFound: there is no such task of this user and service.
        """
        channel = connection.channel
        assert channel is not None
        extent, end = await read_extent(self._source, channel.key), None
        if extent.last is None:
            record = await read_record(self._source, channel.ref)
            if record is None:
                raise NotFound
            end = outcome(channel.ref, record)
            seen = end is not None and after > (ended_ms(record), 0)
        else:
            seen = extent.was_seen_to_its_end(after)
        headers = {**_STREAM_HEADERS, **self._cors(request)}
        if seen:
            return Response(status_code=204, headers=self._cors(request))
        if request.method == "HEAD":
            return _without_length(Response(headers=headers))
        if end is not None:
            return Response(end.frame, headers=headers)
        self._follower.begin(channel, extent)
        self._silence.start()
        self._pulse.start()
        connection.prepare(self._source, extent, _raw(headers))
        self._tell(LogEvent.CONNECTION_OPENED, connection)
        return connection

    def _tell(self, what: LogEvent, connection: Connection, open_ms: int | None = None) -> None:
        task_id = connection.channel.ref.task_id if connection.channel is not None else None
        event(log, what, task=task_id, connections=len(self._connections), open_ms=open_ms)

    def _refusal(self, request: Request, error: SluiceError) -> Response:
        body: dict[str, Any] = {"ok": False, "error": error.code, "message": str(error)}
        headers = {"Cache-Control": "no-store", **self._cors(request)}
        unavailable = isinstance(error, StoreUnavailable)
        event(
            log,
            LogEvent.REQUEST_UNAVAILABLE if unavailable else LogEvent.REQUEST_REFUSED,
            error=error if unavailable else error.code,
            status=error.status,
            retry_after_seconds=error.retry_after_seconds,
        )
        if unavailable:
            body["message"] = str(StoreUnavailable())
        if error.retry_after_seconds is not None:
            body["retryAfter"] = error.retry_after_seconds
            headers["Retry-After"] = str(error.retry_after_seconds)
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = METHODS
        return JSONResponse(body, error.status, headers)

    def _cors(self, request: Request) -> dict[str, str]:
        origin, allowed = request.headers.get("origin"), self._settings.allowed_origins
        headers = {"Vary": "Origin"}
        if origin and (origin in allowed or "*" in allowed):
            headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
            if request.method == "OPTIONS":
                headers |= {
                    "Access-Control-Allow-Methods": METHODS,
                    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Last-Event-ID",
                    "Access-Control-Max-Age": "600",
                }
        return headers


def resume_place(request: Request) -> StreamId | None:
    """Return after which event the reader goes on: `Last-Event-ID`, else `?after=`; None from the beginning.

    Raises:
        InvalidRequest: it is not a stream id.
    """
    header = request.headers.get("last-event-id")
    text = header or request.query_params.get("after")
    if not text:
        return None
    try:
        return parse_id(text)
    except ValueError:
        raise InvalidRequest(
            "must be a stream id, like 1700000000000-0", field="Last-Event-ID" if header else "after"
        ) from None


def channel_of(request: Request) -> tuple[str, str] | None:
    """Return the service and the task that a path names; None for any other path."""
    channel = _CHANNEL.fullmatch(request.scope["path"])
    return (channel[1], channel[2]) if channel else None


def token_of(request: Request) -> str:
    """Return the stream token: browsers' EventSource sends no headers, so it is in the query for them."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = request.query_params.get("token") or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not token:
        raise AuthRequired("A stream token is required.")
    return token


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def _without_length(response: Response) -> Response:
    """Leave out what a GET's answer has not: no stream has a length."""
    del response.headers["content-length"]
    return response


class _AsgiResponse(Response):
    """A response that an ASGI application makes; adds no coroutine, which each connection would hold."""

    def __init__(self, app: Bridge) -> None:
        super().__init__()
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        return self._app(scope, receive, send)


def bridge_response(bridge: Bridge) -> Response:
    """Return the one response that answers every request: the bridge itself."""
    return _AsgiResponse(bridge)
