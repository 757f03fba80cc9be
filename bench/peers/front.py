"""The same minimal HTTP front for every peer: `POST /tasks` queues one, `GET /events/{id}` streams it.

It subscribes before it queues, or the first tokens would have no reader: pub/sub keeps nothing.

    PEER=celery uvicorn bench.peers.front:app
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from bench.peers.chain import REDIS_URL, channel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_send_task: Callable[[str], Awaitable[None]] = import_module(f"bench.peers.{os.environ['PEER']}_app").send
_listening: dict[str, PubSub] = {}
_redis = Redis.from_url(REDIS_URL)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["method"] == "POST":
        await _post(send)
    else:
        await _events(scope["path"].rpartition("/")[2], send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        if os.environ["PEER"] == "taskiq":
            await import_module("bench.peers.taskiq_app").broker.startup()
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _post(send: Send) -> None:
    task_id = uuid.uuid4().hex
    listener = _redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe(channel(task_id))
    _listening[task_id] = listener
    await _send_task(task_id)
    body = json.dumps({"id": task_id}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _events(task_id: str, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with _listening.pop(task_id) as listener:
        async for message in listener.listen():
            if b'"done"' in message["data"]:
                break
            body = b"event: token\ndata: %b\n\n" % message["data"]
            await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"event: done\ndata: {}\n\n", "more_body": False})
