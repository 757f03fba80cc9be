"""The bridge's way to Redis: asynchronous, read-only, and mapped to the errors of the store.

Ordinary commands share a few connections, and those that are asked for while all of these are at work travel
together, in one round trip: a storm of readers who come back at once costs few of them. A blocking read has a
connection of its own.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.errors import SluiceError, StoreUnavailable
from shared.state.store import ANSWER_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS, Arg, raise_answered

CONNECTIONS = 4
COMMANDS_AT_ONCE = 64
KEEPALIVE = {
    option: value
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if (option := getattr(socket, name, None)) is not None
}
"""Seconds and tries: a blocked read hears nothing for long, so the kernel asks after Redis, at no command."""
Command = Callable[[bytes], Coroutine[Any, Any, Any]]
"""Runs a command that is given as it travels."""


class Source:
    """Redis for one event loop; nothing is connected before the first command."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[tuple[Sequence[Arg], asyncio.Future[Any]]] = deque()
        self._trips: set[asyncio.Task[None]] = set()
        self._leaving = False

    @cached_property
    def _shared(self) -> Any:
        return self._client(CONNECTIONS, ANSWER_TIMEOUT_SECONDS, retries=1)

    async def command(self, *args: Arg) -> Any:
        """Run one command.

        Raises:
            CommandRefused: Redis answered an error.
            StoreUnavailable: it did not answer.
        """
        return await self._ask(args)

    async def pipeline(self, *commands: Sequence[Arg]) -> list[Any]:
        """Run commands one after the other, not atomically. Raises as `command`."""
        return await asyncio.gather(*map(self._ask, commands))

    def _ask(self, args: Sequence[Arg]) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((args, answer))
        if not self._leaving and len(self._trips) < CONNECTIONS:
            self._leaving = True
            trip = asyncio.create_task(self._travel())
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)
        return answer

    async def _travel(self) -> None:
        """Take what waits to Redis, until nothing does."""
        self._leaving = False
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(COMMANDS_AT_ONCE, len(self._waiting)))]
            asked = [(args, answer) for args, answer in taken if not answer.done()]
            try:
                replies = await self._round_trip([args for args, _ in asked])
            except SluiceError as error:
                replies = [error] * len(asked)
            for (_, answer), reply in zip(asked, replies, strict=True):
                _settle(answer, reply)

    async def _round_trip(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        async with self._shared.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await _guarded(pipeline.execute(raise_on_error=False))
        return replies

    @asynccontextmanager
    async def own_connection(self, answer_timeout_seconds: float) -> AsyncIterator[Command]:
        """Open a connection of its own for the block, and give the function that runs a command on it.

        A broken connection is never opened anew behind the caller's back: it would have another client id.
        """
        client = self._client(1, answer_timeout_seconds, retries=0)
        try:
            connection = await _guarded(client.connection_pool.get_connection())
            yield lambda packed_command: _guarded(_run(connection, packed_command))
        finally:
            await client.aclose()

    def _client(self, connections: int, answer_timeout_seconds: float, *, retries: int) -> Any:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=connections,
            timeout=ANSWER_TIMEOUT_SECONDS,
            protocol=2,
            decode_responses=True,
            encoding_errors="replace",  # one broken entry must not end the one read that serves everybody
            driver_info=None,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # Said explicitly: the client's default of five seconds would end every quiet blocking read.
            socket_timeout=answer_timeout_seconds,
            socket_keepalive=True,
            socket_keepalive_options=KEEPALIVE,
            retry=Retry(NoBackoff(), retries, supported_errors=(exceptions.ConnectionError,)),
        )
        client: Any = Redis(connection_pool=pool)
        client.auto_close_connection_pool = True
        client.response_callbacks.clear()
        return client


async def _run(connection: Any, packed_command: bytes) -> Any:
    await connection.send_packed_command(packed_command)
    return await connection.read_response()


def _settle(answer: asyncio.Future[Any], reply: Any) -> None:
    if answer.done():  # whoever asked is gone
        return
    if isinstance(reply, exceptions.ResponseError):
        try:
            raise_answered(reply)
        except SluiceError as error:
            answer.set_exception(error)
    elif isinstance(reply, Exception):
        answer.set_exception(reply)
    else:
        answer.set_result(reply)


async def _guarded(call: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await call
    except exceptions.ResponseError as error:
        raise_answered(error)
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"Redis: {error}") from error
