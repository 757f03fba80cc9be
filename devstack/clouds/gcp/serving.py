"""The emulated Google Cloud on a port of 127.0.0.1: an ASGI application around `Cloud`.

One port serves both: what is meant for `*.run.app` goes to a service, everything else to the APIs. So all of
it happens on one event loop, and a service is never looked at while it is being changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from devstack.clouds.gcp.api.requests import Request
from devstack.clouds.gcp.cloud import Cloud
from devstack.clouds.gcp.faults import Unanswered
from devstack.clouds.gcp.gateway.hosts import DOMAIN


class Apis:
    """Answers every call to every API, and hands requests to services on.

    Args:
        cloud: the APIs' rules and state.
        addresses: answers at the services' addresses; None: nobody does.
    """

    def __init__(self, cloud: Cloud, addresses: Any | None = None) -> None:
        self._cloud = cloud
        self._addresses = addresses
        self.used_at = time.time()

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.used_at = time.time()
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").partition(":")[0]
        if self._addresses is not None and host.endswith(DOMAIN):
            await self._addresses(scope, receive, send)
            self.used_at = time.time()
            return
        await self._call(scope, receive, send)

    async def _call(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        request = await _read(scope, receive)
        try:
            answer = self._cloud.answer(request)
        except Unanswered:
            await _cut(send)
            return
        headers = {"content-length": str(len(answer.body)), **answer.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer.body})


async def _read(scope: Mapping[str, Any], receive: Any) -> Request:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        b"".join(parts),
    )


async def _cut(send: Any) -> None:
    """Break the connection off: the server closes what is shorter than it was said to be."""
    headers = [(b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
