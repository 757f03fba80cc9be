"""What stands before the local model's server, so that it behaves as a provider does.

`llama_cpp.server` answers 200 and then nothing when a text is too long or an image comes along, counts no
tokens in a stream, and works on one request at a time in silence. Here a request that it cannot serve is
refused, one that waits is told so by comments, as DeepSeek does, and the usage is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from devstack.llm.app import MODELS
from devstack.llm.requests import BadRequest, ChatRequest, read_request
from devstack.serving import AppServer

MAX_ANSWER_TOKENS = 2_000
"""A small model that finds no end is stopped after a minute, not after its provider's 15,000 tokens."""
MAX_ITEMS = 3
"""Of each list in a grammar: left alone, a small model adds one more for ever."""
MIN_ANSWER_TOKENS = 200
_MARGIN_TOKENS = 64
"""What the model's own marks between messages take, which are not counted."""
SAMPLING = {"repeat_penalty": 1.1}
"""Small models repeat themselves; servers for them have this on, llama.cpp's has not."""
ALIVE_SECONDS = 5.0


@dataclass
class Front:
    """The endpoints; `upstream` is the model server's base URL, without `/v1`."""

    upstream: str
    context_tokens: int
    max_answer_tokens: int = MAX_ANSWER_TOKENS
    alive_seconds: float = ALIVE_SECONDS
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models, methods=["GET"]),
            ]
        )

    async def models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": m, "object": "model"} for m in MODELS]})

    async def chat(self, request: Request) -> Response:
        try:
            chat = _served(await request.body())
        except BadRequest as error:
            return JSONResponse({"error": {"message": str(error), "type": "invalid_request_error"}}, 400)
        return StreamingResponse(self._told(chat), media_type="text/event-stream")

    async def _told(self, chat: ChatRequest) -> AsyncIterator[bytes]:
        """Yield the model's stream, and comments while it waits for its turn or reads."""
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        asking = asyncio.create_task(self._ask(chat, lines))
        try:
            while (line := await self._next(lines)) is not None:
                yield f"{line}\n\n".encode()
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def _next(self, lines: asyncio.Queue[str | None]) -> str | None:
        try:
            return await asyncio.wait_for(lines.get(), self.alive_seconds)
        except TimeoutError:
            return ": the model is busy"

    async def _ask(self, chat: ChatRequest, lines: asyncio.Queue[str | None]) -> None:
        """Put the model's events into `lines`, one request after the other, and None at the end."""
        try:
            async with (
                self._turn,
                httpx.AsyncClient(
                    base_url=self.upstream,
                    headers={"Authorization": "Bearer local"},
                    timeout=httpx.Timeout(None),
                    trust_env=False,
                ) as client,
            ):
                async for line in self._answer(chat, client):
                    lines.put_nowait(line)
        except (httpx.HTTPError, httpx.InvalidURL):
            lines.put_nowait(_event({"error": {"message": "The local model failed."}}))
        finally:
            lines.put_nowait(None)

    async def _answer(self, chat: ChatRequest, client: httpx.AsyncClient) -> AsyncIterator[str]:
        """Yield the model's events, and the usage before the last."""
        counted = await client.post("/extras/tokenize/count", json={"input": chat.prompt})
        prompt_tokens = int(counted.raise_for_status().json()["count"])
        room = self.context_tokens - prompt_tokens - _MARGIN_TOKENS
        if room < MIN_ANSWER_TOKENS:
            message = f"The maximum context length is {self.context_tokens}; the request has {prompt_tokens}."
            yield _event({"error": {"message": message, "code": "context_length_exceeded"}})
            return
        said = 0
        body = _bounded(chat.raw) | SAMPLING
        body["max_tokens"] = min(chat.max_tokens, room, self.max_answer_tokens)
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                said += '"content":' in line
                if line == "data: [DONE]" and chat.include_usage:
                    yield _event({"choices": [], "usage": _usage(prompt_tokens, said)})
                if line.startswith("data:"):
                    yield line


class LocalFront(AppServer):
    """The front as a server on a free port; a context manager."""

    def __init__(self, front: Front) -> None:
        super().__init__(front.app(), name="llm-front")

    @property
    def base_url(self) -> str:
        """What a lane takes for the provider's base URL."""
        return f"{self.origin}/v1"


def _served(body: bytes) -> ChatRequest:
    """Read a request that this model can serve."""
    chat = read_request(body, MODELS)
    if chat.images:
        raise BadRequest("The local model cannot see.")
    if not chat.stream:
        raise BadRequest("The local model only streams.")
    return chat


def _bounded(node: Any) -> Any:
    """Return a request whose schema, if it has one, lets no list grow for ever."""
    if isinstance(node, list):
        return [_bounded(item) for item in node]
    if not isinstance(node, dict):
        return node
    bound = {"maxItems": MAX_ITEMS} if node.get("type") == "array" else {}
    return {key: _bounded(value) for key, value in node.items()} | bound


def _usage(prompt_tokens: int, said: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": said,
        "total_tokens": prompt_tokens + said,
    }


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}"
