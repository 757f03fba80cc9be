"""The proxy's orders for single commands, which any thread may give.

with RedisProxy(valkey.port) as proxy:
    lost = proxy.cut("claim_task", when="after")
    …                                   # everything at proxy.url reaches Valkey, but for that one reply
    assert lost.hits == 1
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from devstack.proxy.faults import Book, Fault, When
from devstack.proxy.relay import Relay
from devstack.proxy.resp import read_frame
from devstack.proxy.tcp import TcpProxy


class RedisProxy(TcpProxy):
    """A proxy in front of the Redis at `port` of 127.0.0.1, on a port of its own, in a thread of its own.

    `about` narrows a fault to commands that carry all of these words, such as a task's id.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port, name="redis-proxy")
        self._book = Book()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    # -- faults of single commands --------------------------------------------------------------------------

    def cut(
        self, on: str = "", *, when: When = "before", nth: int = 1, times: int | None = 1, about: str = ""
    ) -> Fault:
        """Cut the connection at a command: before the server sees it, or before the client sees its reply."""
        return self._arm(Fault("cut", on, when, nth, times, about))

    def hold(
        self, on: str = "", *, when: When = "before", nth: int = 1, times: int | None = 1, about: str = ""
    ) -> Fault:
        """Say nothing to a command, until its client gives up or `release` lets it go on."""
        return self._arm(Fault("hold", on, when, nth, times, about))

    def release(self, fault: Fault) -> None:
        """Let what a `hold` holds go on its way: the command reaches the server, the reply its client."""
        self._order(fault.released.set)

    def keep_back(self, on: str = "", *, nth: int = 1, times: int | None = 1, about: str = "") -> Fault:
        """Cut the connection at a command, which the network still holds: see `deliver_late`."""
        return self._arm(Fault("keep_back", on, "before", nth, times, about))

    def deliver_late(self) -> int:
        """Deliver what was kept back, in its order; returns how many commands, when they have run."""
        return self._run(self._deliver_late())

    def delay(
        self, on: str = "", *, seconds: float, when: When = "before", times: int | None = 1, about: str = ""
    ) -> Fault:
        return self._arm(Fault("delay", on, when, times=times, about=about, seconds=seconds))

    def count(self, on: str = "", *, about: str = "") -> Fault:
        """Let everything pass, and count it in `seen`."""
        return self.delay(on, seconds=0.0, times=None, about=about)

    def answer(self, on: str, error: str, *, nth: int = 1, times: int | None = 1) -> Fault:
        """Answer an error, such as `READONLY You can't write…`, to a command that the server never sees."""
        return self._arm(Fault("answer", on, nth=nth, times=times, error=error))

    def heal(self) -> None:
        """Disarm every fault, and resume; what is held stays held."""
        self._order(self._book.armed.clear)
        self.resume()

    def passed(self, name: str) -> int:
        """Return how often a command or script has reached the server."""
        return self._order(lambda: self._book.passed[name])

    # -- on the loop -----------------------------------------------------------------------------------------

    def _arm(self, fault: Fault) -> Fault:
        self._order(lambda: self._book.armed.append(fault))
        return fault

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        relay = Relay(reader, writer, port=self._server_port, book=self._book, flowing=self._flowing)
        await relay.run()

    async def _deliver_late(self) -> int:
        late, self._book.late = self._book.late, []
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        for command in late:
            self._book.note(command)
            writer.write(command.frame)
            await read_frame(reader)
        writer.transport.abort()
        return len(late)
