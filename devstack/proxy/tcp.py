"""A TCP proxy in a thread: where its connections lead, and the network's faults, which any thread may order.

`RedisProxy` knows what travels and fails single commands; `Front` is a function's public address, behind
which instances come and go, as on a cloud.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from abc import ABC, abstractmethod
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from devstack.listening import listen

T = TypeVar("T")
MAX_LINE_BYTES = 1 << 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK_BYTES = 1 << 16
_ORDER_SECONDS = 10.0


class TcpProxy(ABC):
    """Leads every connection on to one port of 127.0.0.1. A context manager: leaving it ends them all.

    Args:
        server_port: where connections lead, until `lead_to` says otherwise.
        name: its thread's name.
    """

    def __init__(self, server_port: int, *, name: str) -> None:
        self._server_port = server_port
        self._listener = listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._relays: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    # -- faults of the network -------------------------------------------------------------------------------

    def cut_all(self) -> None:
        """Cut every connection there is now."""
        self._run(self._cut_all())

    def stall(self) -> None:
        """Take everything and pass nothing on, until `resume`: then all of it arrives, late."""
        self._order(self._flowing.clear)

    def refuse(self) -> None:
        """Cut every connection, and each new one at once, until `resume`."""
        self._run(self._refuse())

    def resume(self) -> None:
        self._order(self._resume)

    def lead_to(self, port: int) -> None:
        """Fail over: cut every connection, and lead the next ones to another server."""
        self._run(self._lead_to(port))

    @property
    def connections(self) -> int:
        return self._order(lambda: len(self._relays))

    # -- its life --------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- on the loop -----------------------------------------------------------------------------------------

    @abstractmethod
    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Relay one connection until it ends; whoever accepted it then closes it."""

    def _run(self, order: Coroutine[Any, Any, T]) -> T:
        """Run an order on the proxy's loop: when this returns, it holds."""
        return asyncio.run_coroutine_threadsafe(order, self._loop).result(_ORDER_SECONDS)

    def _order(self, act: Callable[[], T]) -> T:
        async def run() -> T:
            return act()

        return self._run(run())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_LINE_BYTES)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._refusing:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # cut: an order that was carried out
        finally:
            writer.transport.abort()
            self._relays.discard(task)

    async def _cut_all(self) -> None:
        for task in self._relays:
            task.cancel()
        if self._relays:
            await asyncio.wait(self._relays)

    async def _refuse(self) -> None:
        self._refusing = True
        await self._cut_all()

    def _resume(self) -> None:
        self._refusing = False
        self._flowing.set()

    async def _lead_to(self, port: int) -> None:
        self._server_port = port
        await self._cut_all()

    async def _close(self) -> None:
        self._server.close()
        await self._cut_all()
        await asyncio.sleep(0)  # an aborted connection is closed by the loop's next round


class Front(TcpProxy):
    """A function's public address: passes bytes to whichever instance stands behind it now."""

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._flowing.wait()
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            return
        try:
            await both_ways(_pump(reader, ours), _pump(theirs, writer))
        finally:
            ours.transport.abort()


class WakingFront(Front):
    """The address of a function that starts with its first call, as on a cloud that has scaled it to none.

    Args:
        name: its thread's name.
        wake: starts the function unless it was started before; returns its port once it listens. Called for
            each connection, by several threads.
    """

    def __init__(self, *, name: str, wake: Callable[[], int]) -> None:
        super().__init__(0, name=name)
        self._wake = wake

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._server_port = await asyncio.to_thread(self._wake)
        await super()._relay(reader, writer)


async def _pump(source: StreamReader, target: StreamWriter) -> None:
    while data := await source.read(_CHUNK_BYTES):
        target.write(data)
        await target.drain()


async def both_ways(*directions: Coroutine[Any, Any, None]) -> None:
    """Run both directions until one ends, however, and end the other."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, EOFError | OSError):
            raise outcome
