"""One relayed connection: commands one way, replies the other, each in its order.

    client ─▶ commands ─▶ server      what the client is owed waits in `_due`: the reply to a command that was
    client ◀── replies ◀─ server      forwarded, or an answer in the server's place, which keeps its turn

Both ends go together: whichever side ends, or is cut, ends the other.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from devstack.proxy.faults import Book, Fault
from devstack.proxy.resp import Command, read_frame
from devstack.proxy.tcp import MAX_LINE_BYTES, both_ways

HELD_POLL_SECONDS = 0.005


class Cut(EOFError):
    """The connection ends here."""


class Relay:
    """Relays a client's connection to the server at `port`. `flowing` is clear while the network stalls."""

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, *, port: int, book: Book, flowing: asyncio.Event
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._port = port
        self._book = book
        self._flowing = flowing
        self._due: asyncio.Queue[Command | bytes] = asyncio.Queue()

    async def run(self) -> None:
        """Relay until either side ends; whoever accepted the client's connection then closes it."""
        try:
            await self._flowing.wait()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=MAX_LINE_BYTES)
        except OSError:
            return
        try:
            await both_ways(self._commands(writer), self._replies(reader))
        finally:
            writer.transport.abort()

    async def _commands(self, server: StreamWriter) -> None:
        while True:
            command = Command.of(await read_frame(self._reader))
            await self._flowing.wait()
            fault = self._book.next_fault(command, "before")
            if fault is not None and fault.kind == "answer":
                self._due.put_nowait(f"-{fault.error}\r\n".encode())
                continue
            if fault is not None and fault.kind == "keep_back":
                self._book.late.append(command)
            if fault is not None:
                await self._suffer(fault)
            self._book.note(command)
            self._due.put_nowait(command)
            server.write(command.frame)
            await server.drain()

    async def _replies(self, server: StreamReader) -> None:
        while True:
            due = await self._due.get()
            reply = due if isinstance(due, bytes) else await read_frame(server)
            # A server that does not know the script has not run it: the fault is for the reply that follows.
            if isinstance(due, Command) and not reply.startswith(b"-NOSCRIPT"):
                fault = self._book.next_fault(due, "after")
                if fault is not None:
                    await self._suffer(fault)
            await self._flowing.wait()
            self._writer.write(reply)
            await self._writer.drain()

    async def _suffer(self, fault: Fault) -> None:
        """Return when the command or reply may go on.

        Raises:
            Cut: it may not.
        """
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
            case "hold" if fault.when == "before":
                await self._held_before(fault)
            case "hold":
                await fault.released.wait()  # the other direction notices when the client goes away
            case _:
                raise Cut

    async def _held_before(self, fault: Fault) -> None:
        """Wait for the release, or for the client to go away; what it has sent meanwhile stays unread."""
        while not fault.released.is_set():  # a stream that is not read tells nobody of its end
            if self._reader.at_eof() or self._reader.exception() is not None:
                raise Cut
            await asyncio.sleep(HELD_POLL_SECONDS)
