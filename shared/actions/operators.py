"""Who may look after a running Sluice: whoever knows `OPS_TOKEN`, which `actions` alone holds.

    scripts      `Authorization: Bearer <OPS_TOKEN>`, and a name in `Sluice-Operator` beside it
    the page     a form takes name and token once; then a cookie, signed by a key that is made of the token,
                 carries the name. Every change needs the form token beside it, which only our page knows

Without `OPS_TOKEN` none of this exists: every address of it is answered 404. Another token signs everybody
out. Failed tries are counted by where they come from, and logged; a token never is.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import jwt
from jwt.exceptions import PyJWTError

from shared.errors import AuthRequired, InvalidRequest, NotFound
from shared.logs import LogEvent, event
from shared.state.store import Store

if TYPE_CHECKING:
    from flask import Request

log = logging.getLogger(__name__)
SESSION_SECONDS = 8 * 3600.0
"""A working day: whoever is on call tomorrow signs in tomorrow."""
COOKIE = "sluice_ops"
COOKIE_PATH = "/ops"
NAME_HEADER = "Sluice-Operator"
"""Percent-encoded, where the name has other letters than ASCII's."""
MAX_NAME_CHARACTERS = 64
SIGN_INS = "10/minute"
"""How often one address may try to sign in, and how many wrong bearer tokens of it are answered as such."""
_AUDIENCE = "sluice-ops"
_UNNAMED = "script"


@dataclass(frozen=True, slots=True)
class Operator:
    """Who is asking, as they call themselves: the token is shared, the name is for the log."""

    name: str

    @property
    def word(self) -> str:
        """The name as a fact of a log line, which is one word of ASCII."""
        return quote(self.name)


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in on the page."""

    operator: Operator
    form_token: str
    """What every change of this session carries; a page of somebody else's cannot know it."""

    def allows(self, sent: str) -> bool:
        """Tell whether a form was sent by a page of this session."""
        return _same(sent, self.form_token)


class Operators:
    """Checks operators. Thread-safe.

    Args:
        token: `OPS_TOKEN`; None when this deployment has no operators' access.
        store: where tries are counted.
        clock: what tells the time, in seconds since the epoch.
    """

    def __init__(self, token: str | None, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._store = store
        self._clock = clock

    def require(self, request: Request) -> Operator:
        """Return the operator that a request's bearer token proves.

        Raises:
            NotFound: there is no operators' access here.
            AuthRequired: it proves none; RateLimited: nor did many before from the same address.
        """
        token = self._known_token()
        scheme, _, sent = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() == "bearer" and _same(sent.strip(), token):
            return Operator(operator_name(unquote(request.headers.get(NAME_HEADER) or _UNNAMED)))
        if sent:
            self._count_try(request)
            event(log, LogEvent.OPERATOR_REFUSED, path=f"/{request.path.split('/')[1]}")
        raise AuthRequired("This address is for operators: send OPS_TOKEN as a bearer token.")

    def sign_in(self, request: Request, name: str, sent_token: str) -> str:
        """Return the value of the cookie for who knows the token.

        Raises:
            NotFound: there is no operators' access here.
            InvalidRequest: the name is none.
            AuthRequired: the token is wrong; RateLimited: too many tries from this address, right or wrong.
        """
        token = self._known_token()
        operator = Operator(operator_name(name))
        self._count_try(request)
        if not _same(sent_token.strip(), token):
            event(log, LogEvent.OPERATOR_REFUSED, path=f"/{request.path.split('/')[1]}")
            raise AuthRequired("This is not the token.")
        event(log, LogEvent.OPERATOR_ACTED, act="sign_in", by=operator.word)
        claims = {
            "sub": operator.name,
            "jti": secrets.token_urlsafe(16),
            "aud": _AUDIENCE,
            "exp": int(self._clock() + SESSION_SECONDS),
        }
        return jwt.encode(claims, _session_key(token), algorithm="HS256")

    def session(self, request: Request) -> Session | None:
        """Return the session of a request's cookie; None when it has none that is good.

        Raises:
            NotFound: there is no operators' access here.
        """
        key = _session_key(self._known_token())
        try:
            claims = jwt.decode(
                request.cookies.get(COOKIE, ""),
                key,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                options={"require": ["sub", "jti", "exp"], "verify_exp": False},
            )
        except (PyJWTError, UnicodeError):
            return None
        if claims["exp"] <= self._clock():
            return None
        form_token = hmac.new(key, f"form {claims['jti']}".encode(), hashlib.sha256).hexdigest()
        return Session(Operator(claims["sub"]), form_token)

    def _known_token(self) -> str:
        if self._token is None:
            raise NotFound("There is no such address.")
        return self._token

    def _count_try(self, request: Request) -> None:
        from limits import parse

        from shared.actions.rates import count

        count(self._store, address_of(request), "sign-ins", parse(SIGN_INS))


def operator_name(text: str) -> str:
    """Return a name as an operator may call themselves: one word, as facts of a log line are.

    Raises:
        InvalidRequest: it is empty, too long, or holds what would break a line of the log.
    """
    name = "-".join(text.split())
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise InvalidRequest(f"must have 1 to {MAX_NAME_CHARACTERS} printable characters", field="name")
    return name


def address_of(request: Request) -> str:
    """Return where a request comes from, as the platform's own front tells it.

    Fronts append the address they saw; what stands before it is whatever the caller wrote.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded or request.remote_addr or "unknown"


def _same(sent: str, token: str) -> bool:
    """Compare digests: it takes as long for a wrong token of any length."""
    digests = (hashlib.sha256(each.encode(errors="replace")).digest() for each in (sent, token))
    return hmac.compare_digest(*digests)


def _session_key(token: str) -> bytes:
    return hmac.new(token.encode(), b"sluice operators' sessions", hashlib.sha256).digest()
