"""The keys that an issuer of users' tokens publishes (a JSON Web Key Set), fetched when they are needed.

    a key we know, from a set of the last 5 minutes   is used, and waits for nobody
    a key we do not know                              fetches the set, at most every 30 s: made-up ids cost
                                                      the issuer nothing, a new key comes in half a minute
    the issuer away, slow, nonsense                   AuthUnavailable in 3 s, then 5 s of leaving it alone

A set that has grown old is used no longer, also while the issuer is away: it may have withdrawn a key.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from jwt import PyJWK

from shared.errors import AuthRequired, AuthUnavailable
from shared.logs import LogEvent, carried, event

log = logging.getLogger(__name__)
PUBLISHED_KEY_ALGORITHMS = ("RS256", "ES256")
KEYS_LIFE_SECONDS = 300.0
UNKNOWN_KEY_PAUSE_SECONDS = 30.0
FAILURE_PAUSE_SECONDS = 5.0
FETCH_TIMEOUT_SECONDS = 3.0
MAX_SET_BYTES = 256 * 1024
MIN_RSA_BITS = 2048


class PublishedKeys:
    """One issuer's keys. Thread-safe: one thread fetches, and only who needs what it fetches waits for it."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = FETCH_TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._keys: Mapping[str, PyJWK] = {}
        self._good_until = self._quiet_until = -1.0
        self._fetch: _Fetch | None = None

    def find(self, key_id: str) -> PyJWK:
        """Return a published key.

        Raises:
            AuthRequired: the issuer publishes no such key, or has not been asked lately enough to know.
            AuthUnavailable: the issuer's keys are not to be had right now.
        """
        known = self._known()
        if known is None or key_id not in known:
            known = self._known_after_asking(key_id)
        if known is None:
            raise AuthUnavailable
        if key_id not in known:
            raise AuthRequired
        return known[key_id]

    def _known(self) -> Mapping[str, PyJWK] | None:
        return self._keys if self._clock() < self._good_until else None

    def _known_after_asking(self, key_id: str) -> Mapping[str, PyJWK] | None:
        with self._lock:  # whoever waited here for another's fetch looks at what came of it first
            known = self._known()
            if self._clock() >= self._quiet_until and (known is None or key_id not in known):
                self._refresh()
            return self._known()

    def _refresh(self) -> None:
        """Fetch the set; what is known stays as it is when that fails."""
        if self._fetch is None or self._fetch.done:
            self._fetch = _Fetch(self._url, self._timeout_seconds)
        keys = self._fetch.wait(self._timeout_seconds)
        if keys:
            self._keys, self._good_until = keys, self._clock() + KEYS_LIFE_SECONDS
        self._quiet_until = self._clock() + (UNKNOWN_KEY_PAUSE_SECONDS if keys else FAILURE_PAUSE_SECONDS)


class _Fetch:
    """One download in a thread of its own: no time-out covers a name that hangs, or a byte a second."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._keys: Mapping[str, PyJWK] = {}
        arguments = (url, timeout_seconds)
        self._thread = threading.Thread(
            target=carried(self._run), args=arguments, name="published-keys", daemon=True
        )
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, timeout_seconds: float) -> Mapping[str, PyJWK]:
        """Return the keys, none when they have not come in time."""
        self._thread.join(timeout_seconds)
        return self._keys if self.done else {}

    def _run(self, url: str, timeout_seconds: float) -> None:
        try:
            self._keys = read_keys(_download(url, timeout_seconds))
        except Exception as error:  # noqa: BLE001  # the thread's edge: whatever it was, there are no keys
            event(log, LogEvent.ISSUER_KEYS_AWAY, error=error)


def read_keys(document: bytes) -> dict[str, PyJWK]:
    """Return the keys of a set that can sign users' tokens, by key id; others beside them are skipped.

    Raises:
        AuthUnavailable: the document is no set, or none of its keys can.
    """
    try:
        entries = json.loads(document)["keys"]
        usable = [key for key in map(_usable_key, entries) if key is not None]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise AuthUnavailable("the document is no set of keys") from error
    if not usable:
        raise AuthUnavailable("no key of the set can sign users' tokens")
    return {str(key.key_id): key for key in reversed(usable)}  # of two with one id, the first


def _usable_key(entry: dict[str, Any]) -> PyJWK | None:
    try:
        key = PyJWK(entry)
        usable = (
            isinstance(key.key_id, str)
            and key.public_key_use in {"sig", None}
            and key.algorithm_name in PUBLISHED_KEY_ALGORITHMS
            and (key.key_type != "RSA" or key.key.key_size >= MIN_RSA_BITS)
        )
    except Exception:  # noqa: BLE001  # PyJWT has six ways, and no list of them, to say what is wrong with a key
        return None
    return key if usable else None


def _download(url: str, timeout_seconds: float) -> bytes:
    import httpx

    deadline, body = time.monotonic() + timeout_seconds, b""
    # Issuers' firewalls refuse clients without a name; identity, for nothing to unpack to more than was sent.
    headers = {"User-Agent": "sluice", "Accept-Encoding": "identity"}
    with (
        httpx.Client(timeout=timeout_seconds, trust_env=False, headers=headers) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.status_code != HTTPStatus.OK:
            raise AuthUnavailable(f"answered {answer.status_code}")
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > MAX_SET_BYTES or time.monotonic() > deadline:
                raise AuthUnavailable("too large, or too slow")
    return body
