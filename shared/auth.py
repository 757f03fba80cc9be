"""Who is asking: users' tokens, which somebody else issues, and stream tokens, which are ours.

    user token      `Authorization: Bearer`; HS256 by a shared secret, or RS256/ES256 by the issuer's keys.
                    Its `sub` is the userId. Opens what belongs to this user.
    stream token    `?token=` of an SSE address; HS256 by a secret that only `actions` and `events` hold.
                    Opens one channel: this user's, this service's, this task's (D35).

Neither is ever taken for the other: a stream token has a type in its header and an audience, and a user token
with that type is refused, also when somebody gave both the same secret.

While a secret takes the place of another, tokens by either are good; new ones are made with the first. What a
token is refused for is what the secret that signed it says: an expired one is called expired, not forged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import jwt
from jwt import PyJWK
from jwt.exceptions import ExpiredSignatureError, InvalidSignatureError, PyJWTError

from shared.errors import AuthRequired
from shared.jwks import PUBLISHED_KEY_ALGORITHMS, PublishedKeys
from shared.messages import trace_of
from shared.settings import AuthSettings

LEEWAY_SECONDS = 5.0
MAX_TOKEN_CHARACTERS = 16_384
MAX_USER_ID_CHARACTERS = 256
STREAM_AUDIENCE = "sluice-stream"
STREAM_TYPE = "sluice-stream+jwt"
Key = TypeVar("Key")
Decoded = TypeVar("Decoded")


class UserTokens:
    """Checks users' tokens. Thread-safe; published keys are fetched on first use."""

    def __init__(self, settings: AuthSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._published_keys = PublishedKeys(settings.jwks_url, clock=clock) if settings.jwks_url else None

    def user_id(self, authorization_header: str | None) -> str:
        """Return the userId that a request's `Authorization` header proves.

        Raises:
            AuthRequired: it proves none.
            AuthUnavailable: the issuer's keys are not to be had right now.
        """
        token = _bearer(authorization_header)
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") == STREAM_TYPE:
                raise AuthRequired
            return _user_id(self._claims(token, header))
        except (PyJWTError, UnicodeError) as error:
            raise _refused(error) from error

    def _claims(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check a token with the one kind of key that is configured: its own `alg` never chooses."""
        s = self._settings
        keys: Sequence[bytes | PyJWK]
        if s.secret:
            keys, algorithms = _hmac_keys(s.secret, s.second_secret), ["HS256"]
        else:
            keys, algorithms = [self._published_key(header)], list(PUBLISHED_KEY_ALGORITHMS)
        return _by_its_key(
            keys,
            lambda key: jwt.decode(
                token,
                key,
                algorithms=algorithms,
                issuer=s.issuer,
                audience=s.audience,
                leeway=LEEWAY_SECONDS,
                # An issuer may name an audience in every token; it matters when one has been configured.
                options={"require": ["sub"], "verify_aud": s.audience is not None},
            ),
        )

    def _published_key(self, header: Mapping[str, Any]) -> PyJWK:
        key_id = header.get("kid")
        if not self._published_keys or not key_id or header.get("alg") not in PUBLISHED_KEY_ALGORITHMS:
            raise AuthRequired
        return self._published_keys.find(key_id)


@dataclass(frozen=True, slots=True)
class StreamAccess:
    """Whose channel a stream token opens, of which task, and in which trace it is read."""

    user_id: str
    task_id: str
    traceparent: str | None = None


class StreamTokens:
    """Issues and checks stream tokens; whoever only checks them needs no lifetime.

    Args:
        secret: what tokens are issued with.
        ttl_seconds: how long they are good for.
        second: another secret by which tokens are good too; None when there is none.
        clock: what tells the time, in seconds since the epoch.
    """

    def __init__(
        self,
        secret: str,
        ttl_seconds: float = 0.0,
        *,
        second: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = _hmac_keys(secret, second)
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    def issue(self, user_id: str, service_id: str, task_id: str, traceparent: str | None = None) -> str:
        """Return a token that opens this one channel for the lifetime given at construction.

        With a `traceparent` its readers belong to that trace: a browser's EventSource sends none of its own.
        """
        claims = {
            "sub": user_id,
            "svc": service_id,
            "tsk": task_id,
            "aud": STREAM_AUDIENCE,
            "exp": math.ceil(self._clock() + self._ttl_seconds),
            **({"tp": traceparent} if traceparent else {}),
        }
        return jwt.encode(claims, self._keys[0], algorithm="HS256", headers={"typ": STREAM_TYPE})

    def check(self, token: str | None, service_id: str, task_id: str) -> str:
        """Return the userId whose channel `token` opens. Raises as `open`."""
        return self.open(token, service_id, task_id).user_id

    def open(self, token: str | None, service_id: str, task_id: str) -> StreamAccess:
        """Return what `token` opens.

        Raises:
            AuthRequired: it does not open the channel of this service and this task, or not any more.
        """
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            raise AuthRequired
        try:
            claims = self._claims(token)
        except (PyJWTError, UnicodeError) as error:
            raise _refused(error) from error
        if (claims["svc"], claims["tsk"]) != (service_id, task_id):
            raise AuthRequired
        return StreamAccess(_user_id(claims), task_id, trace_of(claims.get("tp")))

    def _claims(self, token: str) -> Mapping[str, Any]:
        complete = _by_its_key(
            self._keys,
            lambda key: jwt.decode_complete(
                token,
                key,
                algorithms=["HS256"],
                audience=STREAM_AUDIENCE,
                leeway=LEEWAY_SECONDS,
                options={"require": ["sub", "svc", "tsk", "exp"]},
            ),
        )
        if complete["header"].get("typ") != STREAM_TYPE:
            raise AuthRequired
        claims: Mapping[str, Any] = complete["payload"]
        return claims


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_CHARACTERS:
        raise AuthRequired
    return token


def is_user_id(text: str) -> bool:
    """Tell whether a text can be a userId, which becomes part of Redis keys: visible and not too long."""
    return 0 < len(text) <= MAX_USER_ID_CHARACTERS and text.isprintable()


def _user_id(claims: Mapping[str, Any]) -> str:
    user_id = claims["sub"]
    if not isinstance(user_id, str) or not is_user_id(user_id):
        raise AuthRequired
    return user_id


def _refused(error: Exception) -> AuthRequired:
    """Say that a token has expired, because a frontend can do something about it; nothing else is told."""
    return (
        AuthRequired("The token has expired.") if isinstance(error, ExpiredSignatureError) else AuthRequired()
    )


def _by_its_key(keys: Sequence[Key], decode: Callable[[Key], Decoded]) -> Decoded:
    """Decode a token with the key that signed it; what is wrong with it is then told by that key alone."""
    for key in keys[:-1]:
        with suppress(InvalidSignatureError):
            return decode(key)
    return decode(keys[-1])


def _hmac_keys(secret: str, second: str | None) -> list[bytes]:
    """Return the bytes of each secret, padded with zeros as HMAC does itself: PyJWT warns of short keys."""
    if not secret or second == "":
        raise ValueError("an empty secret proves nothing")
    return [each.encode().ljust(32, b"\0") for each in (secret, second) if each is not None]
