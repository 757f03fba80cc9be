"""HTTP as the stand-in sees it: the raw target and bytes, which no framework may touch.

An official SDK pastes the destination unencoded into the path (`/v2/publish/https://host/a//b?x=1`), so a
router that merges `//` or decodes `%2F` would change where a message goes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ApiError(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """As sent: still percent-encoded."""
    raw_query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    client_ip: str

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def query_values(self, name: str) -> list[str]:
        """Return the values of a list in the query: repeated, or separated by commas."""
        found = [value for key, value in parse_qsl(self.raw_query) if key.removesuffix("[]") == name]
        return [part for value in found for part in value.split(",") if part]

    @cached_property
    def config(self) -> dict[str, str]:
        """The instructions: headers, and what the query gives in their place."""
        given = {name.lower(): value for name, value in self.query.items() if _is_config(name)}
        return given | self.headers

    @property
    def destination_query(self) -> str:
        """The query without what is meant for QStash; it belongs to the destination."""
        parts = self.raw_query.split("&")
        return "&".join(part for part in parts if not _is_config(unquote_plus(part.partition("=")[0])))

    def json(self) -> Any:
        """Return the body's JSON, None for an empty body.

        Raises:
            ApiError: it is none.
        """
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ApiError(400, "invalid JSON in the request body") from error


@dataclass(frozen=True, slots=True)
class Reply:
    payload: Any = None
    """JSON; None is an empty body."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def _is_config(name: str) -> bool:
    return name.lower().startswith("upstash-") or name.lower() == "qstash_token"


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read a whole request."""
    chunks, more = [], True
    while more:
        event = await receive()
        chunks.append(event.get("body", b""))
        more = event.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        raw_query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=b"".join(chunks),
        client_ip=(scope.get("client") or ("127.0.0.1", 0))[0],
    )


async def send_reply(send: Send, reply: Reply) -> None:
    body = b"" if reply.payload is None else json.dumps(reply.payload).encode()
    headers = {"content-type": "application/json"} | reply.headers | {"content-length": str(len(body))}
    raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw_headers})
    await send({"type": "http.response.body", "body": body})
