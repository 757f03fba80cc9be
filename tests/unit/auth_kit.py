"""What the tests of users' tokens share: keys, ways to sign with them, and an issuer that publishes some over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.auth import UserTokens
from shared.errors import AuthRequired
from shared.settings import AuthSettings

SECRET = "a secret of users' tokens, 32 bytes and more"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def by_secret(
    secret: str = SECRET,
    *,
    second: str | None = None,
    issuer: str | None = None,
    audience: str | None = None,
) -> UserTokens:
    return UserTokens(AuthSettings(secret, None, issuer, audience, second_secret=second))


def by_url(
    url: str,
    *,
    issuer: str | None = None,
    audience: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> UserTokens:
    settings = AuthSettings(secret=None, jwks_url=url, issuer=issuer, audience=audience)
    return UserTokens(settings, clock=clock)


def token(
    key: Any = SECRET, alg: str = "HS256", *, headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    return jwt.encode({"sub": "user-1"} | claims, key, algorithm=alg, headers=headers)


def bearer(token: str) -> str:
    return f"Bearer {token}"


class Issuer:
    """An issuer of users' tokens: publishes its keys over HTTP and counts how often it is asked.

    `answer` writes a whole answer to the socket instead, for an issuer that misbehaves.
    """

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.body: bytes | None = None
        self.status = 200
        self.headers: dict[str, str] = {}
        self.closing = threading.Event()
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self._publish
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    @contextmanager
    def serving(self) -> Iterator[Self]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield self
        self.closing.set()
        self.server.shutdown()
        thread.join()
        self.server.server_close()

    def say_nothing(self, _: BaseHTTPRequestHandler) -> None:
        """Answer as one that hangs: nothing, for as long as it is served."""
        self.closing.wait()

    def drip(self, request: BaseHTTPRequestHandler) -> None:
        """Answer with a byte of a header now and then, without an end."""
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.closing.wait(0.02):
            request.wfile.write(b"x")

    def publish(self, kid: str, key: Any, **members: Any) -> None:
        self.keys.append(public_jwk(key) | {"kid": kid, "use": "sig"} | members)

    def _publish(self, request: BaseHTTPRequestHandler) -> None:
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        request.send_response(self.status)
        for name, value in {"Content-Length": str(len(body)), **self.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # the handler inside has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                with suppress(ConnectionError):  # whoever asked has had enough
                    issuer.answer(self)

            def log_message(self, *_: Any) -> None:
                """Keep the tests' output clean."""

        return Handler


def public_jwk(key: Any) -> dict[str, Any]:
    """Return a key's public half as an issuer publishes it."""
    name = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    jwk: dict[str, Any] = json.loads(jwt.get_algorithm_by_name(name).to_jwk(key.public_key()))
    return jwk


def refused(tokens: UserTokens, header: str | None) -> None:
    with pytest.raises(AuthRequired):
        tokens.user_id(header)
