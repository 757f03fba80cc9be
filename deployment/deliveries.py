"""What is asked of a running function to find out whether it lets in whom it should, and no one else.

A question is one request with the one right answer to it. Deliveries are signed as QStash signs them, with
the environment's keys, and carry a probe: the function checks path and signature as ever, asks Redis for a
sign of life, and runs and writes nothing. A prober asks a candidate before it goes live
(`deployment.probing`), a verifier asks everybody everything (`deployment.verification`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import httpx
import jwt

from shared.routing import Lane, templates_of

ACTIONS = "actions"
EVENTS = "events"
SIGNATURE_HEADER = "Upstash-Signature"
SIGNATURE_LIFETIME_SECONDS = 300
_KEY_BYTES = 32
"""HMAC pads a shorter key with zeros itself; PyJWT would warn of it."""
_REFUSED: Mapping[str, str] = MappingProxyType({"error": "bad_signature"})


@dataclass(frozen=True, slots=True)
class Question:
    """One request and the one right answer to it."""

    told: str
    """What it is, for people: `a probe signed with the next key`."""
    path: str
    status: int
    """The status of the right answer."""
    said: Mapping[str, str]
    """What the right answer's JSON says, among other things."""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int | None
    """None when nothing came."""
    said: str
    """The error's code, or who answered; what kept the answer away when nothing came. Never a header."""
    right: bool
    ours: bool
    """Whether a function of ours said it, not something in front of it."""


def probe_path(function: str) -> str:
    """Return the ordinary path at which a lane, or `actions`, takes a probe."""
    if function == ACTIONS:
        return "/callbacks/step"
    lane = Lane(function)
    return lane.path(templates_of(lane)[0])


def takes_deliveries(function: str) -> bool:
    """Tell whether QStash calls the function."""
    return function == ACTIONS or function in set(Lane)


def new_nonce() -> str:
    return secrets.token_urlsafe(24)


def new_key() -> str:
    """Return a signing key that nobody else knows."""
    return f"sig_{secrets.token_urlsafe(24)}"


def probe_body(nonce: str) -> bytes:
    return json.dumps({"v": 1, "probe": nonce}, separators=(",", ":")).encode()


def hmac_key(secret: str) -> bytes:
    return secret.encode().ljust(_KEY_BYTES, b"\0")


def sign(url: str, body: bytes, key: str, *, now: float) -> str:
    """Return QStash's signature of a delivery of `body` to `url`, made at `now` (seconds since the epoch)."""
    issued = int(now)
    claims = {
        "iss": "Upstash",
        "sub": url,
        "exp": issued + SIGNATURE_LIFETIME_SECONDS,
        "nbf": 0,
        "iat": issued,
        "jti": f"jwt_{secrets.token_urlsafe(21)}",
        "body": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode(),
    }
    return jwt.encode(claims, hmac_key(key), algorithm="HS256")


def accepted_probe(told: str, function: str, signed_for: str, key: str, *, now: float) -> Question:
    """Return a probe of `function` that must be answered.

    Args:
        told: what it is, for people.
        function: who must answer, by its own name and with the probe's nonce.
        signed_for: the URL that the signature names.
        key: what it is signed with.
        now: when, in seconds since the epoch.
    """
    nonce = new_nonce()
    body = probe_body(nonce)
    said = {"status": "probe", "function": function, "nonce": nonce}
    headers = _signed(sign(signed_for, body, key, now=now))
    return Question(told, probe_path(function), 200, said, "POST", headers, body=body)


def refused_probe(told: str, function: str, signature: str | None, *, body: bytes | None = None) -> Question:
    """Return a probe of `function` that must be refused: unsigned, or signed in a way that proves nothing."""
    sent = probe_body(new_nonce()) if body is None else body
    return Question(told, probe_path(function), 401, _REFUSED, "POST", _signed(signature), body=sent)


def foreign_probe(told: str, function: str, signed_for: str, key: str, *, now: float) -> Question:
    """Return a signed probe that must be refused: its address, its key or its time is not the right one."""
    body = probe_body(new_nonce())
    return refused_probe(told, function, sign(signed_for, body, key, now=now), body=body)


def ask(client: httpx.Client, base_url: str, question: Question) -> Answer:
    """Ask once, at an address without a trailing slash; an answer that does not come is an answer too."""
    try:
        with client.stream(
            question.method,
            base_url + question.path,
            headers=question.headers,
            params=question.query or None,
            content=question.body or None,
            follow_redirects=False,
        ) as response:
            return _answer(question, response)
    except httpx.HTTPError as error:
        return Answer(None, type(error).__name__, right=False, ours=False)


def _answer(question: Question, response: httpx.Response) -> Answer:
    # What streams is no answer to any question, and has no end that could be waited for.
    streams = "event-stream" in response.headers.get("content-type", "")
    document = {} if streams else _json(response)
    said = str(document.get("error") or document.get("function") or "")
    right = response.status_code == question.status and document.items() >= question.said.items()
    return Answer(response.status_code, said[:80], right=right, ours=bool(said))


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        document = json.loads(response.read())
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _signed(signature: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return headers if signature is None else {**headers, SIGNATURE_HEADER: signature}
