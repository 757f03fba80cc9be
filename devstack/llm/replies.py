"""Replies of the chat API, whole or streamed at the stand-in's pace, with the fault that was asked for.

A reply watches its client: one that goes away ends it at once, also before the first byte, and is counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle, islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devstack.llm.faults import Fault, FaultKind
from devstack.llm.gauges import Gauges
from devstack.llm.transcript import Call

MIN_TICK_SECONDS = 0.02
"""Pieces closer together than this go out in one write, so that hundreds of streams fit into one process."""


@dataclass(slots=True)
class Pace:
    """How fast the models talk."""

    first_token_ms: float = 200.0
    tokens_per_second: float = 50.0


@dataclass(frozen=True, slots=True)
class Script:
    """What one call will say: thoughts first, then the answer, in pieces."""

    model: str
    thoughts: list[str]
    pieces: list[str]
    finish_reason: str
    prompt_tokens: int
    include_usage: bool
    tool_call: bool = False
    repeated: Sequence[str] = ()
    """Pieces said over and over once the others have been said, for ever."""

    @property
    def usage(self) -> dict[str, int]:
        said = len(self.thoughts) + len(self.pieces)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
        }


@dataclass(frozen=True, slots=True)
class Teller:
    """Turns a script into the bytes of a stream, as fast as the pace says and as badly as the fault says."""

    script: Script
    pace: Pace
    fault: Fault | None
    call: Call

    async def tell(self) -> AsyncIterator[bytes]:
        """Yield the stream; raises ConnectionAbortedError where the connection is to be dropped."""
        script, kind = self.script, self.fault.kind if self.fault else None
        await asyncio.sleep(self.pace.first_token_ms / 1000)
        yield self._event({"role": "assistant", "content": ""})
        thoughts = cycle(script.thoughts or ["Hm. "]) if kind is FaultKind.THINKING else script.thoughts
        async for batch in self._paced(("reasoning_content", thought) for thought in thoughts):
            yield batch
        repeated = script.pieces if kind is FaultKind.ENDLESS else script.repeated
        pieces = chain(script.pieces, cycle(repeated))
        breaks = kind in _BREAKS and self.fault is not None
        head = list(islice(pieces, self.fault.after_pieces)) if breaks and self.fault else pieces
        async for batch in self._paced(("content", p) for p in head):
            yield batch
        if breaks:
            yield await self._break(kind)
        yield self._tool_call() if script.tool_call else b""
        yield self._end(kind)

    async def _paced(self, deltas: Any) -> AsyncIterator[bytes]:
        source = iter(deltas)
        while batch := list(islice(source, self._per_tick)):
            self.call.note(batch)
            yield b"".join(self._event({name: text}) for name, text in batch)
            await asyncio.sleep(len(batch) / self.pace.tokens_per_second)

    @property
    def _per_tick(self) -> int:
        """Read for every write: a change of the pace is felt in the middle of a text."""
        return max(1, round(MIN_TICK_SECONDS * self.pace.tokens_per_second))

    async def _break(self, kind: FaultKind | None) -> bytes:
        match kind:
            case FaultKind.SILENCE:
                await asyncio.Event().wait()
            case FaultKind.CUT:
                raise ConnectionAbortedError
            case FaultKind.GARBLED:
                return b"data: {this is no JSON\n\n"
            case FaultKind.INVALID_UTF8:
                return b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'
            case FaultKind.ERROR_EVENT:
                error = {"message": self.fault.message if self.fault else "", "code": "1305"}
                return f"data: {json.dumps({'error': error})}\n\n".encode()
        return b""

    def _end(self, kind: FaultKind | None) -> bytes:
        if kind is FaultKind.UNFINISHED:
            return b""
        reason = "content_filter" if kind is FaultKind.FILTERED else self.script.finish_reason
        end = self._event({}, finish_reason=reason)
        if self.script.include_usage and kind is not FaultKind.NO_USAGE:
            end += self._line({"choices": [], "usage": self.script.usage})
        return end + b"data: [DONE]\n\n"

    def _tool_call(self) -> bytes:
        call = {
            "index": 0,
            "id": "call_0",
            "function": {"name": "send_mail", "arguments": "{}"},
            "type": "function",
        }
        return self._event({"tool_calls": [call]})

    def _event(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return self._line({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def _line(self, event: dict[str, Any]) -> bytes:
        head = {
            "id": f"chatcmpl-{self.call.number}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.script.model,
        }
        return f"data: {json.dumps(head | event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


_BREAKS = frozenset(
    {
        FaultKind.SILENCE,
        FaultKind.CUT,
        FaultKind.UNFINISHED,
        FaultKind.GARBLED,
        FaultKind.INVALID_UTF8,
        FaultKind.ERROR_EVENT,
        FaultKind.FILTERED,
    }
)


@dataclass(eq=False)
class WatchedReply(Response):
    """A response that ends as soon as its client is gone."""

    teller: Teller
    streamed: bool
    gauges: Gauges
    api_key: str
    prompt: str
    background: None = field(default=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.gauges.call(self.api_key, self.teller.script.model):
            reply = asyncio.create_task(self._reply(send))
            gone = asyncio.create_task(_until_gone(Request(scope, receive)))
            await asyncio.wait({reply, gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not reply.done():
                self.gauges.note_closing(self.prompt)
                reply.cancel()
            outcome, _ = await asyncio.gather(reply, gone, return_exceptions=True)
        self.teller.call.ended_at = time.monotonic()
        if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionAbortedError):
            raise outcome

    async def _reply(self, send: Send) -> None:
        if self.teller.fault is not None and self.teller.fault.kind is FaultKind.HANG:
            await asyncio.Event().wait()
        await (self._stream(send) if self.streamed else self._whole(send))

    async def _stream(self, send: Send) -> None:
        await send(_start(b"text/event-stream; charset=utf-8"))
        async for piece in self.teller.tell():
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        self.teller.call.finished = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _whole(self, send: Send) -> None:
        """Wait as long as the stream would take, then answer in one piece."""
        async for _ in self.teller.tell():
            pass
        script = self.teller.script
        message = {"role": "assistant", "content": "".join(script.pieces)}
        if script.thoughts:
            message["reasoning_content"] = "".join(script.thoughts)
        body = {
            "id": f"chatcmpl-{self.teller.call.number}",
            "object": "chat.completion",
            "created": 0,
            "model": script.model,
            "choices": [{"index": 0, "message": message, "finish_reason": script.finish_reason}],
            "usage": script.usage,
        }
        await send(_start(b"application/json"))
        await send({"type": "http.response.body", "body": json.dumps(body, ensure_ascii=False).encode()})


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _start(content_type: bytes) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
