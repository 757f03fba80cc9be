"""The peer: a bare ASGI relay of Redis's pub/sub, one subscription connection for all, and nothing else.

    uvicorn --factory bench.bridge.relay:application        (REDIS_PORT in the environment)

No token, no history, no place to resume from, no bound on a slow reader: who is away for a moment has lost
what was said. So it is the limit that a bridge of this machine can come near to. Its writer has to PUBLISH
each event beside the XADD that stores it; here it is spared the second.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import hiredis

from bench.bridge.channels import key_of_path
from bench.bridge.resp import packed
from shared.stream.eager import run_eagerly

Message = MutableMapping[str, Any]
Send = Callable[[Message], Any]
Receive = Callable[[], Awaitable[Message]]
HEADERS = [(b"content-type", b"text/event-stream")]


class Relay(asyncio.Protocol):
    """The connection to Redis, and who is told what comes over it."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.WriteTransport | None = None
        self.readers: defaultdict[bytes, list[Send]] = defaultdict(list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by its bases

    def subscribe(self, key: bytes, send: Send) -> None:
        assert self._transport is not None
        self.readers[key].append(send)
        self._transport.write(packed("SUBSCRIBE", key.decode()))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (said := self._reader.gets()) is not False:
            kind, key, payload = said
            frame = b"data: %b\n\n" % payload if kind == b"message" else b"event: start\n\n"
            for send in self.readers[key]:
                run_eagerly(send({"type": "http.response.body", "body": frame, "more_body": True}))


def application() -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """Return the ASGI application; it connects at its first reader."""
    connecting: list[asyncio.Future[Relay]] = []

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if not connecting:
            connecting.append(asyncio.ensure_future(_connected()))
        relay = await connecting[0]
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        key = key_of_path(scope["path"])
        relay.subscribe(key, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        relay.readers[key].remove(send)

    return answer


async def _connected() -> Relay:
    port = int(os.environ["REDIS_PORT"])
    _, relay = await asyncio.get_running_loop().create_connection(Relay, "127.0.0.1", port)
    return relay
