"""The fake model of all pipelines: each token carries the moment at which it was sent.

    python -m bench.pipelines.provider        (prints its port, ends with its input)

A token's text is `t{index}:{sent} `, the first one's `t0:{sent}:{asked} `: nanoseconds of the monotonic
clock, which all processes of a machine share. `POST /pace` with a `Pace` as JSON sets how it speaks from then
on. It writes the protocol's bytes itself, so that it costs next to nothing beside what is measured.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sys
import time
from dataclasses import dataclass
from typing import cast

import uvloop

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CLOSE = re.compile(rb"(?i)\r\nconnection: *close")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MARK = "@"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an answer is, and how fast it comes."""

    tokens: int = 500
    first_token_ms: float = 200.0
    tokens_per_second: float = 50.0
    """0: as fast as the socket takes them."""

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()


def _event(content: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": finish_reason}
    data = {
        "id": "930c60df-bf64-41c9-a88e-3ec75f81e00e",
        "object": "chat.completion.chunk",
        "created": 1_764_200_000,
        "model": "deepseek-chat",
        "system_fingerprint": "fp_ffc7281d48_prod0820_fp8_kvcache",
        "choices": [choice],
    }
    if finish_reason:
        data["usage"] = {"prompt_tokens": 900, "completion_tokens": 500, "total_tokens": 1400}
    return b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode()


_BEFORE, _, _AFTER = _event(_MARK).partition(_MARK.encode())
_END = _event("", "stop") + b"data: [DONE]\n\n"


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


class Connection(asyncio.Protocol):
    """One client's connection; answers its requests one after the other."""

    pace = Pace()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no base in common with it
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or len(body) < (size := int(length[1]) if length else 0):
            return
        self._received = body[size:]
        self._is_last = _CLOSE.search(head) is not None
        if b"/chat/completions" in head.partition(b"\r\n")[0]:
            self._answer()
        else:
            Connection.pace = Pace(**json.loads(body[:size]))
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            self._transport.close()

    def _answer(self) -> None:
        self._asked, self._index, self._spoken = time.monotonic_ns(), 0, self.pace
        self._transport.write(_HEAD + _chunk(_event("")))
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._spoken.first_token_ms / 1000
        self._timer = self._loop.call_at(self._due, self._speak)

    def _speak(self) -> None:
        """Send what is due: one token, or all of them."""
        interval = 1 / self._spoken.tokens_per_second if self._spoken.tokens_per_second else 0.0
        while self._index < self._spoken.tokens:
            self._transport.write(_chunk(_BEFORE + self._token() + _AFTER))
            self._index += 1
            if interval:
                self._due += interval
                self._timer = self._loop.call_at(self._due, self._speak)
                return
        self._transport.write(_chunk(_END) + b"0\r\n\r\n")
        if self._is_last:
            self._transport.close()

    def _token(self) -> bytes:
        asked = b"" if self._index else b":%d" % self._asked
        return b"t%d:%d%b " % (self._index, time.monotonic_ns(), asked)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve())
