"""The proxy's socket and its orders, which any thread may give.

with RedisProxy(valkey.port) as proxy:
    lost = proxy.cut("claim_task", when="after")
    …                                   # everything at proxy.url reaches Valkey, but for that one reply
    assert lost.hits == 1
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from devstack.listening import listen
from devstack.proxy.faults import Book, Fault, When
from devstack.proxy.relay import MAX_LINE_BYTES, Relay
from devstack.proxy.resp import read_frame

T = TypeVar("T")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ORDER_SECONDS = 10.0


class RedisProxy:
    """A proxy in front of the Redis at `port` of 127.0.0.1, on a port of its own, in a thread of its own.

    A context manager: leaving it ends every connection.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._book = Book()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._relays: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="redis-proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    # -- faults of single commands --------------------------------------------------------------------------

    def cut(self, on: str = "", *, when: When = "before", nth: int = 1, times: int | None = 1) -> Fault:
        """Cut the connection at a command: before the server sees it, or before the client sees its reply."""
        return self._arm(Fault("cut", on, when, nth, times))

    def hold(self, on: str = "", *, when: When = "before", nth: int = 1, times: int | None = 1) -> Fault:
        """Say nothing to a command, until its client gives up."""
        return self._arm(Fault("hold", on, when, nth, times))

    def keep_back(self, on: str = "", *, nth: int = 1, times: int | None = 1) -> Fault:
        """Cut the connection at a command, which the network still holds: see `deliver_late`."""
        return self._arm(Fault("keep_back", on, "before", nth, times))

    def deliver_late(self) -> int:
        """Deliver what was kept back, in its order; returns how many commands, when they have run."""
        return self._run(self._deliver_late())

    def delay(self, on: str = "", *, seconds: float, when: When = "before", times: int | None = 1) -> Fault:
        return self._arm(Fault("delay", on, when, times=times, seconds=seconds))

    def answer(self, on: str, error: str, *, nth: int = 1, times: int | None = 1) -> Fault:
        """Answer an error, such as `READONLY You can't write…`, to a command that the server never sees."""
        return self._arm(Fault("answer", on, nth=nth, times=times, error=error))

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

    def heal(self) -> None:
        """Disarm every fault and resume."""
        self._order(self._book.armed.clear)
        self.resume()

    def lead_to(self, port: int) -> None:
        """Fail over: cut every connection, and lead the next ones to another server."""
        self._run(self._lead_to(port))

    # -- what went through -----------------------------------------------------------------------------------

    def passed(self, name: str) -> int:
        """Return how often a command or script has reached the server."""
        return self._order(lambda: self._book.passed[name])

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

    def _run(self, order: Coroutine[Any, Any, T]) -> T:
        """Run an order on the proxy's loop: when this returns, it holds."""
        return asyncio.run_coroutine_threadsafe(order, self._loop).result(_ORDER_SECONDS)

    def _order(self, act: Callable[[], T]) -> T:
        async def run() -> T:
            return act()

        return self._run(run())

    def _arm(self, fault: Fault) -> Fault:
        self._order(lambda: self._book.armed.append(fault))
        return fault

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_LINE_BYTES)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._refusing:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
            return
        relay = Relay(reader, writer, port=self._server_port, book=self._book, flowing=self._flowing)
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            await relay.run()
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

    async def _deliver_late(self) -> int:
        late, self._book.late = self._book.late, []
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        for command in late:
            self._book.note(command)
            writer.write(command.frame)
            await read_frame(reader)
        writer.transport.abort()
        return len(late)

    async def _close(self) -> None:
        self._server.close()
        await self._cut_all()
        await asyncio.sleep(0)  # an aborted connection is closed by the loop's next round
