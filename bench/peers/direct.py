"""The limit: an ASGI handler that asks the provider and passes its bytes on, keeping nothing.

uvicorn bench.peers.direct:app
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

_URL = f"{os.environ['PEER_MODEL_URL']}/chat/completions"
_BODY = {
    "model": "deepseek-chat",
    "stream": True,
    "messages": [
        {"role": "system", "content": "You prepare a candidate for an interview."},
        {"role": "user", "content": "Senior backend engineer with 8 years in payments. " * 64},
    ],
}
_client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))


async def app(
    scope: MutableMapping[str, Any],
    _receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answer any request with the model's stream."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    async with _client.stream("POST", _URL, json=_BODY, headers={"authorization": "Bearer bench"}) as answer:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for data in answer.aiter_raw():
            await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
