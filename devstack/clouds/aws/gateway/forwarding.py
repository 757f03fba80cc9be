"""One request to a function URL: what Lambda and Lambda Web Adapter make of it. An ASGI application.

unknown host                         404
not public by both statements        403
reserved concurrency used up, or 0   429
request over 6 MB                    413
no start, crash, time-out, modes that do not match   502, or a cut connection once the answer has begun
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import httpx

from devstack.clouds.aws.gateway.directory import Address, Directory, Version
from devstack.clouds.aws.gateway.sandboxes import Sandbox, Sandboxes, StartFailed

_MAX_BUFFERED_BYTES: Final = 6 * 1024 * 1024
_NOT_PASSED_ON: Final = frozenset(
    (b"connection", b"content-length", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_FAILED: Final = {"Message": "Internal Server Error"}


class Cut(Exception):
    """The function failed after its answer had begun: the client sees a connection that breaks."""


class Forwarding:
    """Answers every request to every function URL."""

    def __init__(self, directory: Directory, sandboxes: Sandboxes) -> None:
        self._directory = directory
        self._sandboxes = sandboxes
        self._running: Counter[str] = Counter()
        self.used_at = time.time()

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.used_at = time.time()
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").partition(":")[0]
        address = await asyncio.to_thread(self._directory.find, host)
        body = await _read(receive)
        refusal = self._refusal(address, body)
        if address is None or body is None or refusal is not None:
            await _answer(send, *(refusal or (404, _FAILED)))
            return
        self._running[address.function_arn] += 1
        try:
            await self._invoke(address, scope, body, send)
        finally:
            self._running[address.function_arn] -= 1
            self.used_at = time.time()

    def _refusal(self, address: Address | None, body: bytes | None) -> tuple[int, dict[str, str]] | None:
        if address is None:
            return 404, {"Message": "Not Found"}
        if not address.public:
            return 403, {"Message": "Forbidden"}
        if address.reserved is not None and self._running[address.function_arn] >= address.reserved:
            return 429, {
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Message": "Rate Exceeded.",
            }
        if body is None:
            return 413, {"Message": "Request must be smaller than 6291456 bytes"}
        return None

    async def _invoke(self, address: Address, scope: Mapping[str, Any], body: bytes, send: Any) -> None:
        version = address.choose()
        try:
            sandbox = await self._sandboxes.take(version)
        except StartFailed as error:
            _tell(version, str(error))
            await _answer(send, 502, _FAILED)
            return
        answer = _Answer(address, version, send)
        try:
            async with asyncio.timeout(version.timeout_seconds):
                await answer.forward(sandbox, scope, body)
        # Lambda ends an instance that was too slow or broke; ours may answer others, and ends after them.
        except TimeoutError:
            sandbox.retired = True
            await answer.fail(f"Task timed out after {version.timeout_seconds:.2f} seconds")
        except httpx.TransportError as error:
            sandbox.retired = True
            await answer.fail(f"Runtime exited without an answer: {type(error).__name__}")
        except _Malformed as error:
            await answer.fail(str(error))
        finally:
            await self._sandboxes.give_back(sandbox)


class _Malformed(Exception):
    """The function's answer is none that Lambda takes."""


class _Answer:
    """The answer to one request, begun or not."""

    def __init__(self, address: Address, version: Version, send: Any) -> None:
        self._address = address
        self._version = version
        self._send = send
        self._begun = False

    async def forward(self, sandbox: Sandbox, scope: Mapping[str, Any], body: bytes) -> None:
        """Hand the request to the process, and its answer to the client."""
        streams = self._version.variables.get("AWS_LWA_INVOKE_MODE", "buffered").lower() == "response_stream"
        if streams and not self._address.streams:
            raise _Malformed("AWS_LWA_INVOKE_MODE is response_stream, and the URL's InvokeMode BUFFERED")
        request = self._request(sandbox, scope, body)
        upstream = await sandbox.client.send(request, stream=True)
        try:
            if streams:
                await self._pass_through(upstream)
            else:
                await self._pass_whole(upstream)
        finally:
            await upstream.aclose()

    async def fail(self, reason: str) -> None:
        """Answer 502, or break off what has begun."""
        _tell(self._version, reason)
        if self._begun:
            raise Cut(reason)
        await _answer(self._send, 502, _FAILED)

    def _request(self, sandbox: Sandbox, scope: Mapping[str, Any], body: bytes) -> httpx.Request:
        own = (b"x-amzn-lambda-context", b"x-amzn-request-context")
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name not in _NOT_PASSED_ON and name not in own
        ]
        request_id = str(uuid.uuid4())
        headers += [
            (own[0], json.dumps(self._context(request_id)).encode()),
            (own[1], json.dumps(_request_context(scope, request_id)).encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        url = httpx.URL(f"http://127.0.0.1:{sandbox.port}").copy_with(raw_path=target)
        return httpx.Request(scope["method"], url, headers=headers, content=body)

    def _context(self, request_id: str) -> dict[str, Any]:
        config = self._version.config
        return {
            "request_id": request_id,
            "deadline": int((time.time() + self._version.timeout_seconds) * 1000),
            "invoked_function_arn": self._address.invoked_arn,
            "xray_trace_id": None,
            "client_context": None,
            "identity": None,
            "env_config": {
                "function_name": config["FunctionName"],
                "memory": config["MemorySize"],
                "version": self._version.number,
                "log_group": config["LoggingConfig"]["LogGroup"],
                "log_stream": request_id,
            },
        }

    async def _pass_through(self, upstream: httpx.Response) -> None:
        await self._start(upstream, [])
        async for chunk in upstream.aiter_raw():
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _pass_whole(self, upstream: httpx.Response) -> None:
        content = b""
        async for chunk in upstream.aiter_raw():
            content += chunk
            if len(content) > _MAX_BUFFERED_BYTES:
                raise _Malformed(
                    "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
                )
        await self._start(upstream, [(b"content-length", b"%d" % len(content))])
        await self._send({"type": "http.response.body", "body": content})

    async def _start(self, upstream: httpx.Response, extra: list[tuple[bytes, bytes]]) -> None:
        self._begun = True
        passed_on = [
            (name, value) for name, value in upstream.headers.raw if name.lower() not in _NOT_PASSED_ON
        ]
        start = {"type": "http.response.start", "status": upstream.status_code, "headers": passed_on + extra}
        await self._send(start)


async def _read(receive: Any) -> bytes | None:
    """Return a request's body, None when it is larger than Lambda takes."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _MAX_BUFFERED_BYTES:
            return None
        if not message.get("more_body", False):
            return body


async def _answer(send: Any, status: int, document: Mapping[str, str]) -> None:
    content = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _request_context(scope: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    domain = headers["host"].partition(":")[0]
    return {
        "accountId": "anonymous",
        "apiId": domain.partition(".")[0],
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": headers.get("user-agent"),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "timeEpoch": int(time.time() * 1000),
    }


def _tell(version: Version, reason: str) -> None:
    """Say on the emulator's log what Lambda would say in the function's."""
    print(f"{version.arn.rsplit(':', 1)[1]}:{version.number}: {reason}", file=sys.stderr, flush=True)
