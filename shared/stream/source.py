"""The bridge's way to Redis: asynchronous, read-only, and mapped to the errors of the store.

Ordinary reads share a few connections, however many readers come back at once; the one blocking read has
its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.errors import StoreUnavailable
from shared.state.store import ANSWER_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS, Arg, raise_answered

CONNECTIONS = 16
Command = Callable[..., Coroutine[Any, Any, Any]]


class Source:
    """Redis for one event loop; nothing is connected before the first command."""

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _shared(self) -> Any:
        return self._client(CONNECTIONS, ANSWER_TIMEOUT_SECONDS, retries=1)

    async def command(self, *args: Arg) -> Any:
        """Run one command.

        Raises:
            CommandRefused: Redis answered an error.
            StoreUnavailable: it did not answer.
        """
        return await _guarded(self._shared.execute_command(*args))

    async def pipeline(self, *commands: Sequence[Arg]) -> list[Any]:
        """Run commands in one round trip, not atomically. Raises as `command`."""
        async with self._shared.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await _guarded(pipeline.execute())
        return replies

    @asynccontextmanager
    async def own_connection(self, answer_timeout_seconds: float) -> AsyncIterator[Command]:
        """Open a connection of its own for the block, and give the function that runs a command on it.

        A broken connection is never opened anew behind the caller's back: it would have another client id.
        """
        client = self._client(1, answer_timeout_seconds, retries=0)
        try:
            yield lambda *args: _guarded(client.execute_command(*args))
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
            retry=Retry(NoBackoff(), retries, supported_errors=(exceptions.ConnectionError,)),
        )
        client: Any = Redis(connection_pool=pool)
        client.auto_close_connection_pool = True
        client.response_callbacks.clear()
        return client


async def _guarded(call: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await call
    except exceptions.ResponseError as error:
        raise_answered(error)
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"Redis: {error}") from error
