"""The REST interface itself, without sockets: a request in, an answer out.

POST /             one command as a JSON array
POST /pipeline     several, in order, not atomic; each has its own result or error
POST /multi-exec   several as a transaction; discarded as a whole if one cannot be queued
GET, POST, PUT /set/key/…   a command as a path; a body is its last argument, a query its options
GET, DELETE /dev/meter      what Upstash would bill, and what of it clients sent; not part of the real service
"""

from __future__ import annotations

import hmac
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from devstack.upstash.commands import Command, Refusal, encode, for_valkey, from_json, from_path
from devstack.upstash.meter import Meter

MAX_REQUEST_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        return urlsplit(self.target).query


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Api:
    """Answers requests from a Valkey. Thread-safe."""

    def __init__(self, redis_url: str, token: str) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._redis: Any = Redis.from_url(
            redis_url, protocol=2, driver_info=None, socket_timeout=30, retry=Retry(NoBackoff(), 0)
        )
        self._redis.response_callbacks.clear()
        self._token = token
        self._writes = itertools.count(1)
        self.meter = Meter(self._redis)

    def close(self) -> None:
        self._redis.close()

    def answer(self, request: Request) -> Answer:
        """Answer one request; Valkey being away is 503."""
        from redis.exceptions import ConnectionError as BrokenConnection
        from redis.exceptions import TimeoutError as NoAnswer

        try:
            if request.path == "/dev/meter":
                return self._bill(request)
            if not self._knows(request):
                return _json(401, {"error": "WRONGPASS invalid or missing auth token"})
            return self._run(request)
        except Refusal as refusal:
            return _json(400, {"error": str(refusal)})
        except (BrokenConnection, NoAnswer) as error:
            return _json(503, {"error": f"the stand-in's Valkey: {error}"})

    def _knows(self, request: Request) -> bool:
        header = request.headers.get("authorization", "")
        given = header.removeprefix("Bearer ") if header else parse_qs(request.query).get("_token", [""])[0]
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _run(self, request: Request) -> Answer:
        if request.method not in {"GET", "HEAD", "POST", "PUT"}:
            return _json(405, {"error": "ERR method not allowed"})
        if len(request.body) > MAX_REQUEST_BYTES:
            raise Refusal(f"ERR max request size exceeded. Limit: {MAX_REQUEST_BYTES} bytes")
        in_base64 = request.headers.get("upstash-encoding") == "base64"
        several = request.path in {"/pipeline", "/multi-exec"}
        rows: list[Command | Refusal] = _rows(request) if several else [_single(request)]
        self.meter.note_request(row[0].decode(errors="replace") for row in rows if isinstance(row, list))
        if request.path == "/multi-exec":
            result: Any = self._transaction(rows, in_base64=in_base64)
        else:
            outcomes = [self._outcome(row, in_base64=in_base64) for row in rows]
            result = outcomes if several else outcomes[0]
        failed = isinstance(result, dict) and "error" in result
        return _json(400 if failed else 200, result, {"Upstash-Sync-Token": f"sync-{next(self._writes)}"})

    def _outcome(self, row: Command | Refusal, *, in_base64: bool) -> dict[str, Any]:
        from redis.exceptions import ResponseError

        try:
            if isinstance(row, Refusal):
                raise row
            reply = self._redis.execute_command(*for_valkey(row))
        except Refusal as refusal:
            return {"error": str(refusal)}
        except ResponseError as error:
            return {"error": _error_text(error)}
        return {"result": encode(reply, in_base64=in_base64)}

    def _transaction(self, rows: list[Command | Refusal], *, in_base64: bool) -> Any:
        from redis.exceptions import ResponseError

        with self._redis.pipeline(transaction=True) as transaction:
            for row in rows:
                if isinstance(row, Refusal):
                    raise row
                transaction.execute_command(*for_valkey(row))
            try:
                replies = transaction.execute(raise_on_error=False)
            except ResponseError:  # the client's text would name its own pipeline
                return {"error": "EXECABORT Transaction discarded because of previous errors."}
        return [
            {"error": _error_text(reply)}
            if isinstance(reply, ResponseError)
            else {"result": encode(reply, in_base64=in_base64)}
            for reply in replies
        ]

    def _bill(self, request: Request) -> Answer:
        if request.method == "DELETE":
            self.meter.reset()
        return _json(200, self.meter.read().to_json())


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def _parse(body: bytes, kind: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Refusal(f"ERR failed to parse {kind} request") from None


def _rows(request: Request) -> list[Command | Refusal]:
    rows = _parse(request.body, "pipeline")
    if not isinstance(rows, list):
        raise Refusal("ERR failed to parse pipeline request")
    if not rows:
        raise Refusal("ERR empty pipeline request")
    return [_command_or_refusal(row) for row in rows]


def _command_or_refusal(row: Any) -> Command | Refusal:
    try:
        return from_json(row)
    except Refusal as refusal:
        return refusal


def _single(request: Request) -> Command:
    if request.path == "/":
        return from_json(_parse(request.body, "command"))
    return from_path(request.path, request.query, request.body if request.method in {"POST", "PUT"} else None)


def _error_text(error: Exception) -> str:
    """Return Redis's own text: its client keeps a general code apart."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)
