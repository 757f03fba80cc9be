"""One relayed connection: commands one way, replies the other, each in its order.

    client ─▶ commands ─▶ server      what the client is owed waits in `_due`: the reply to a command that was
    client ◀── replies ◀─ server      forwarded, or an answer in the server's place, which keeps its turn

Both ends go together: whichever side ends, or is cut, ends the other.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine
from typing import Any

from devstack.proxy.faults import Book, Fault
from devstack.proxy.resp import Command, read_frame

MAX_LINE_BYTES = 1 << 20


class Cut(Exception):
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
            await _first_of(self._commands(writer), self._replies(reader))
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
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return
        if fault.kind == "hold" and fault.when == "before":
            await (
                self._reader.read()
            )  # nothing more is read as commands: only the client's going away ends it
        elif fault.kind == "hold":
            await asyncio.Event().wait()  # the other direction notices when the client goes away
        raise Cut


async def _first_of(*directions: Coroutine[Any, Any, None]) -> None:
    """Run both directions until one ends, however, and end the other."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, EOFError | OSError | Cut):
            raise outcome
