"""One delivery attempt over HTTP: signed anew, byte for byte, never following a redirect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from devstack.qstash.message import Message
from devstack.qstash.signing import Keyring

NON_RETRYABLE = 489
NO_ANSWER = 0
"""The status of an attempt that got no answer; what the real QStash reports then is not documented."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a destination answered; `headers` has names in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return 200 <= self.status < 300

    @property
    def non_retryable(self) -> bool:
        """True for 489, but only together with its header."""
        return self.status == NON_RETRYABLE and self.headers.get("upstash-nonretryable-error", "") == "true"


class Courier:
    """Owns the HTTP client; used inside the broker's event loop."""

    def __init__(self, keyring: Keyring, region: str, max_answer_bytes: int) -> None:
        self._keyring = keyring
        self._region = region
        self._max_answer_bytes = max_answer_bytes
        # A connection of its own for each attempt: a reused one that a killed function left behind would
        # count as a failed delivery. No time-out of the client's, because each message has its own.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        timeout = httpx.Timeout(None)
        self._client = httpx.AsyncClient(
            limits=limits, timeout=timeout, trust_env=False, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def deliver(self, message: Message, now_seconds: float) -> Answer:
        """Send `message` once; whatever goes wrong is an answer too."""
        try:
            async with asyncio.timeout(message.instructions.timeout_seconds):
                response = await self._client.send(self._request(message, now_seconds))
        except TimeoutError:
            return Answer(NO_ANSWER, error="the destination did not answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(NO_ANSWER, error=f"the destination could not be reached: {type(error).__name__}")
        return Answer(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            response.content[: self._max_answer_bytes],
        )

    def _request(self, message: Message, now_seconds: float) -> httpx.Request:
        headers = self._headers(message, now_seconds)
        return self._client.build_request(
            message.instructions.method,
            message.url,
            content=message.body,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
            extensions={"target": _raw_target(message.url)},
        )

    def _headers(self, message: Message, now_seconds: float) -> dict[str, str]:
        own = {
            "user-agent": "Upstash-QStash",
            "upstash-signature": self._keyring.sign(message.url, message.body, now_seconds=now_seconds),
            "upstash-message-id": message.id,
            "upstash-retried": str(message.retried),
            "upstash-caller-ip": message.caller_ip,
            "upstash-region": self._region,
        }
        if message.schedule_id is not None:
            own["upstash-schedule-id"] = message.schedule_id
        return dict(message.instructions.forward) | own


def _raw_target(url: str) -> bytes:
    """Return path and query untouched: normalised by the client, they would not match the signed `sub`."""
    parts = urlsplit(url)
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()
