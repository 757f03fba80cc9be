"""How commands talk to the supervisor: over HTTP on 127.0.0.1, with a token that only this user can read.

GET /status    what runs
POST /settle   make so what stands in the records; answers once it is, with what could not be done
POST /end      end everything
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deployment.errors import DeployError, ProviderError
from deployment.providers.local.front import Receive, Scope, Send
from deployment.providers.local.private_files import write_private
from deployment.providers.local.supervisor import Problem, Supervisor

CALL_SECONDS = 180.0
STATUS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a supervisor listens for commands, and what they must know."""

    pid: int
    port: int
    token: str = field(repr=False)

    def write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what the supervisor that was started last has written; None when it has not yet."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


class Control:
    """The supervisor's side: an ASGI application."""

    def __init__(self, supervisor: Supervisor, token: str) -> None:
        self.ended = asyncio.Event()
        self._supervisor = supervisor
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return JSONResponse({"error": "unauthorized"}, 401)
        match (request.method, request.url.path):
            case ("GET", "/status"):
                return JSONResponse(self._supervisor.status())
            case ("POST", "/settle"):
                return await self._settle(await request.json())
            case ("POST", "/end"):
                self.ended.set()
                return JSONResponse({})
        return JSONResponse({"error": "not found"}, 404)

    async def _settle(self, asked: Mapping[str, Any]) -> Response:
        hold = [(function, fingerprint) for function, fingerprint in asked["hold"]]
        try:
            problems = await self._supervisor.settle(hold)
        except DeployError as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse({"problems": [asdict(problem) for problem in problems]})


@dataclass(frozen=True, slots=True)
class Commands:
    """A command's side."""

    endpoint: Endpoint

    def status(self) -> dict[str, Any] | None:
        """Return what runs, by function; None when no supervisor answers there with that token."""
        try:
            response = self._call("GET", "/status", STATUS_SECONDS)
        except httpx.HTTPError:
            return None
        found: dict[str, Any] | None = response.json() if response.is_success else None
        return found

    def settle(self, hold: Iterable[tuple[str, str]] = ()) -> list[Problem]:
        """Have everything made as it stands in the records; returns what could not be done.

        Raises:
            ProviderError: the supervisor went away meanwhile, or cannot read the records.
        """
        try:
            response = self._call("POST", "/settle", CALL_SECONDS, {"hold": [list(each) for each in hold]})
        except httpx.HTTPError as error:
            gone = type(error).__name__
            raise ProviderError(f"The supervisor (pid {self.endpoint.pid}) went away: {gone}") from error
        if not response.is_success:
            raise ProviderError(f"The supervisor failed ({response.status_code}): {response.text[:500]}")
        return [Problem(**problem) for problem in response.json()["problems"]]

    def end(self) -> None:
        """Ask it to end everything; one that is gone is no error."""
        try:
            self._call("POST", "/end", STATUS_SECONDS)
        except httpx.HTTPError:
            return

    def _call(self, method: str, path: str, seconds: float, body: Any = None) -> httpx.Response:
        url = f"http://127.0.0.1:{self.endpoint.port}{path}"
        headers = {"Authorization": f"Bearer {self.endpoint.token}"}
        # verify=False: reading the certificates of all the world takes longer than the call, which has none.
        with httpx.Client(trust_env=False, verify=False, timeout=seconds) as client:  # noqa: S501
            return client.request(method, url, headers=headers, json=body)
