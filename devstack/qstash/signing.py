"""Signing keys, their rotation, and the signature of one delivery attempt.

An `Upstash-Signature` is an HS256 JWT over the destination as published (`sub`) and the body's hash; headers
are not covered. It lives five minutes, so each attempt is signed anew.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string
from collections.abc import Callable

import jwt

from shared.config import SigningKeys

DEV_TOKEN = "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0="
DEV_KEYS = SigningKeys(current="sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r", next="sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs")
"""User 1 of QStash's own development server; public."""

SIGNATURE_LIFETIME_SECONDS = 300
_ALPHABET = string.ascii_letters + string.digits


class Keyring:
    """The pair of signing keys; deliveries are signed with the current one."""

    def __init__(
        self, keys: SigningKeys, rng: random.Random, rotated: Callable[[SigningKeys], None] | None = None
    ) -> None:
        self.keys = keys
        self._rng = rng
        self._rotated = rotated

    def rotate(self) -> SigningKeys:
        """Make the next key the current one, and a new key the next."""
        self.keys = SigningKeys(current=self.keys.next, next="sig_" + random_text(self._rng, 28))
        if self._rotated is not None:
            self._rotated(self.keys)
        return self.keys

    def restore(self, keys: SigningKeys) -> None:
        """Take a rotation back, as nobody can at the real QStash."""
        self.keys = keys

    def sign(self, url: str, body: bytes, *, now_seconds: float) -> str:
        """Return the signature of one attempt to deliver `body` to `url`."""
        issued = int(now_seconds)
        claims = {
            "iss": "Upstash",
            "sub": url,
            "exp": issued + SIGNATURE_LIFETIME_SECONDS,
            "nbf": 0,
            "iat": issued,
            "jti": "jwt_" + random_text(self._rng, 28),
            "body": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode(),
        }
        return jwt.encode(claims, self.keys.current, algorithm="HS256")


def random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(_ALPHABET, k=length))
