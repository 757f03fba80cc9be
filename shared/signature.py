"""QStash's signature: whether a delivery is QStash's own, for this very address, with this very body.

The header `Upstash-Signature` is a JWT (HS256) over the claims `iss`, `sub` (the destination as it was
published), `exp`, `nbf`, `iat` and `body` (the body's hash). Only these are signed: no other header may
decide anything. QStash's own verifier checks neither the lifetime nor, unless asked, `sub`; it reports the
wrong key's reason and cannot take bytes that are not UTF-8. This one checks all of it.

While keys are rolled, `current` and `next` are both good. The reason given is that of the key that made the
signature, so that an expired one is called expired, not forged. It is for the log only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from jwt import PyJWS
from jwt.exceptions import InvalidSignatureError, PyJWTError

from shared.errors import SignatureError
from shared.settings import SigningKeys

ISSUER = "Upstash"
ALGORITHM = "HS256"
MAX_LIFETIME_SECONDS = 600
MAX_HEADER_CHARACTERS = 8192
LEEWAY_SECONDS = 5.0
_REQUIRED = ("iss", "sub", "exp", "iat", "body")
_MAX_TIME = 1e11
"""A time above it is no time but an attempt to overflow somebody's arithmetic."""


def verify_signature(
    header: str | None,
    body: bytes,
    url: str,
    keys: SigningKeys,
    *,
    now: float | None = None,
    leeway_seconds: float = LEEWAY_SECONDS,
) -> None:
    """Return when the delivery is QStash's, for `url` and with `body`.

    Args:
        header: the value of `Upstash-Signature`, None when there is none.
        body: the raw bytes, as they came.
        url: the configured public URL and path of whoever asks; never rebuilt from a request's headers.
        keys: the signing keys; either is good.
        now: the time, in seconds since the epoch; the clock's by default.
        leeway_seconds: how far QStash's clock and this one may be apart.

    Raises:
        SignatureError: it is not; the text is the reason, for the log only. Nothing else is ever raised.
    """
    claims = _claims_for(header, url, keys, time.time() if now is None else now, leeway_seconds)
    _check_body(claims, body)


def read_signed(header: str | None, read: Callable[[], bytes], url: str, keys: SigningKeys) -> bytes:
    """Return a delivery's body, which is read only once its header has proved to be QStash's, for `url`.

    For bodies that are too large to be taken from strangers.

    Raises:
        SignatureError: as `verify_signature`; and whatever `read` raises.
    """
    claims = _claims_for(header, url, keys, time.time(), LEEWAY_SECONDS)
    body = read()
    _check_body(claims, body)
    return body


def _claims_for(
    header: str | None, url: str, keys: SigningKeys, now: float, leeway_seconds: float
) -> Mapping[str, Any]:
    """Return what is signed, once all of it holds that does not concern the body."""
    claims = _signed_claims(header, keys)
    _check_presence(claims)
    _check_times(claims, now, leeway_seconds)
    if not _same(claims["sub"], url):
        raise SignatureError(f"signed for {claims['sub']!r:.300}, this is {url!r}")
    return claims


def _check_body(claims: Mapping[str, Any], body: bytes) -> None:
    if not _hashes(claims["body"], body):
        raise SignatureError("the body is not the one that was signed")


def _signed_claims(header: str | None, keys: SigningKeys) -> Mapping[str, Any]:
    """Return what is signed, once either key vouches for it."""
    if not header:
        raise SignatureError("no Upstash-Signature")
    if len(header) > MAX_HEADER_CHARACTERS or not header.isascii():
        raise SignatureError("not a signature: too long, or not ASCII")
    for key in (keys.current, keys.next):
        payload = _payload(header, key)
        if payload is not None:
            return _parse(payload)
    raise SignatureError("made with neither the current nor the next signing key")


def _payload(header: str, key: str) -> bytes | None:
    """Return the signed bytes; None when it was not `key` that signed them."""
    if not key:
        raise SignatureError("a signing key is empty")
    try:
        # HMAC pads its key with zeros itself, so this is the same key; PyJWT would warn of a short one.
        secret = key.encode().ljust(32, b"\0")
        return bytes(PyJWS().decode_complete(header, secret, algorithms=[ALGORITHM])["payload"])
    except InvalidSignatureError:
        return None
    except (PyJWTError, UnicodeError) as error:
        # What follows the colon may quote the header, which is anybody's.
        raise SignatureError(f"not a signature: {str(error).partition(':')[0]}") from error


def _parse(payload: bytes) -> Mapping[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise SignatureError("the claims are not JSON") from error
    if not isinstance(claims, dict):
        raise SignatureError("the claims are not an object")
    return claims


def _check_presence(claims: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        if name not in claims:
            raise SignatureError(f"no claim {name}")
    if not _same(claims["iss"], ISSUER):
        raise SignatureError(f"issued by {claims['iss']!r:.100}, not by {ISSUER}")
    if claims.get("aud"):  # QStash names no audience: whoever is meant by one, it is not this function
        raise SignatureError(f"meant for the audience {claims['aud']!r:.100}")


def _check_times(claims: Mapping[str, Any], now: float, leeway_seconds: float) -> None:
    issued, expires, not_before = (_time(claims, name) for name in ("iat", "exp", "nbf"))
    if expires <= now - leeway_seconds:
        raise SignatureError(f"expired {now - expires:.0f} s ago")
    if not_before > now + leeway_seconds:
        raise SignatureError(f"not valid for another {not_before - now:.0f} s")
    if issued > now + leeway_seconds:
        raise SignatureError(f"issued {issued - now:.0f} s from now")
    if not 0 < expires - issued <= MAX_LIFETIME_SECONDS:
        raise SignatureError(f"lives {expires - issued:.0f} s, at most {MAX_LIFETIME_SECONDS} s are allowed")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name, 0)
    if type(value) not in {int, float} or not 0 <= value <= _MAX_TIME:
        raise SignatureError(f"{name} is not a time")
    return float(value)


def _hashes(claim: object, body: bytes) -> bool:
    """Tell whether `claim` is the SHA-256 of `body` in base64url, with or without its padding."""
    padded = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()
    return _same(claim, padded) or _same(claim, padded.removesuffix("="))


def _same(claim: object, expected: str) -> bool:
    """Compare exactly, in constant time; JSON may hold half a surrogate pair, which is no reason to crash."""
    return isinstance(claim, str) and hmac.compare_digest(
        claim.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass")
    )
