"""AWS's Signature Version 4, as much of it as a POST to a service's root takes, by the standard library.

An SDK would bring the same at many times the import time, before a function's first answer. A test holds the
headers against botocore's own signer, byte for byte.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who calls: a role's, which the platform renews, or a user's."""

    access_key_id: str
    """The public half."""
    secret_access_key: str = field(repr=False)
    """What requests are signed with."""
    session_token: str | None = field(default=None, repr=False)
    """What goes with a role's credentials; None for a user's."""


def signed_headers(
    credentials: Credentials,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    now: dt.datetime,
) -> dict[str, str]:
    """Return `headers` with all that proves a POST of `body` to `/` to be the credentials' holder's.

    Args:
        credentials: who calls.
        headers: all headers that will be sent and are to be signed, `Host` among them.
        body: the body, as it will be sent.
        service: the service's name in signatures, such as `secretsmanager`.
        region: the region that is called.
        now: the time of the call, with its zone; AWS takes it within five minutes.
    """
    stamp = now.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    complete = {**headers, "X-Amz-Date": stamp}
    if credentials.session_token:
        complete["X-Amz-Security-Token"] = credentials.session_token
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    canonical = {name.lower(): " ".join(value.split()) for name, value in complete.items()}
    names = ";".join(sorted(canonical))
    lines = [f"{name}:{canonical[name]}" for name in sorted(canonical)]
    request = "\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = _hmac(_signing_key(credentials.secret_access_key, scope), to_sign).hex()
    proof = f"Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**complete, "Authorization": f"{_ALGORITHM} {proof}"}


def _signing_key(secret_access_key: str, scope: str) -> bytes:
    """Derive the key of one day, region and service, which is all that a signature's loss would give away."""
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
