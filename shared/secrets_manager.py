"""AWS Secrets Manager: the values of a function's secrets, fetched at its start, all at once.

    variable ─▶ GetSecretValue (id, version) ─▶ value
                    │ throttled, 5xx, no answer: again, after a growing pause, while there is time
                    └ anything else: a reason that names the secret, never a value

Threads because the calls only wait, and a start waits for all of them; they have ended when `fetch` returns,
since the web server forks afterwards and a fork takes no thread along. `http.client` and not `urllib`: it
follows no redirect and asks no proxy, with a signature in its headers.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from shared.errors import ConfigError
from shared.references import Reference, References
from shared.sigv4 import signed_headers

BUDGET_SECONDS = 6.0
"""For all of it: Lambda gives a start ten seconds."""
ATTEMPT_SECONDS = 2.0
"""How long the service may be silent before it is asked again."""
FIRST_PAUSE_SECONDS = 0.05
MAX_THREADS = 16
MAX_ANSWER_BYTES = 1_048_576
"""A secret has at most 64 KiB; JSON may write each byte as six."""
THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException",
        "PriorRequestNotComplete", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
        "RequestThrottled", "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling",
        "ThrottlingException", "TooManyRequestsException", "TransactionInProgressException",
    }
)  # fmt: skip
"""The codes by which AWS's own clients know that they were only too fast."""
_CODE = re.compile(r"[A-Za-z]{1,64}")


class Unfetched(Exception):
    """A value was not to be had; the text says why, and never holds one."""


class Passing(Unfetched):
    """Another attempt may have it."""


class SecretsManager:
    """One region's Secrets Manager, asked as one role."""

    def __init__(self, references: References, *, budget_seconds: float = BUDGET_SECONDS) -> None:
        self._references = references
        self._connect = _connector(references.endpoint_url)
        self._deadline = time.monotonic() + budget_seconds

    def fetch(self) -> dict[str, str]:
        """Return every value, by its variable.

        Raises:
            ConfigError: some were not to be had; the message names each variable, its secret, and why.
        """
        wanted = self._references.by_variable
        threads = min(MAX_THREADS, max(1, len(wanted)))
        with ThreadPoolExecutor(threads, thread_name_prefix="secrets") as pool:
            outcomes = pool.map(self._tried, wanted.values())
            fetched = dict(zip(wanted, outcomes, strict=True))
        problems = [
            f"{variable}: {wanted[variable].id}: {outcome}"
            for variable, outcome in fetched.items()
            if isinstance(outcome, Unfetched)
        ]
        if problems:
            raise ConfigError("secrets: " + "; ".join(problems))
        return {variable: value for variable, value in fetched.items() if isinstance(value, str)}

    def _tried(self, reference: Reference) -> str | Unfetched:
        try:
            return self._fetch(reference)
        except Unfetched as error:
            return error

    def _fetch(self, reference: Reference) -> str:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                return _value(self._ask(reference), reference)
            except Passing:
                if time.monotonic() + pause_seconds >= self._deadline:
                    raise
            time.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_seconds *= 2

    def _ask(self, reference: Reference) -> Mapping[str, Any]:
        body = json.dumps({"SecretId": reference.id, "VersionId": reference.version}).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "Host": urlsplit(self._references.endpoint_url).netloc,
            "X-Amz-Target": "secretsmanager.GetSecretValue",
        }
        signed = signed_headers(
            self._references.credentials,
            headers,
            body,
            service="secretsmanager",
            region=self._references.region,
            now=dt.datetime.now(dt.UTC),
        )
        try:
            patience_seconds = max(0.05, min(ATTEMPT_SECONDS, self._deadline - time.monotonic()))
            with closing(self._connect(patience_seconds)) as connection:
                connection.request("POST", "/", body, signed)
                response = connection.getresponse()
                return _answer(response.status, response.read(MAX_ANSWER_BYTES))
        except (OSError, HTTPException) as error:
            raise Passing(f"Secrets Manager does not answer ({type(error).__name__})") from error


def _connector(endpoint_url: str) -> Callable[[float], HTTPConnection]:
    """Return how to connect with a time-out; the certificates of the world are read once, for all threads."""
    parts = urlsplit(endpoint_url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        return lambda timeout_seconds: HTTPConnection(host, port, timeout=timeout_seconds)
    context = ssl.create_default_context()
    return lambda timeout_seconds: HTTPSConnection(host, port, timeout=timeout_seconds, context=context)


def _answer(status: int, body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if status == 200:
        if not isinstance(document, dict):  # `http.client` says nothing of an answer that was cut off
            raise Passing("Secrets Manager's answer is not whole")
        return document
    code = _error_code(document) or f"status {status}"
    if status >= 500 or status == 429 or code in THROTTLING:
        raise Passing(f"Secrets Manager answered {code}")
    raise Unfetched(f"Secrets Manager answered {code}")


def _error_code(document: object) -> str | None:
    """Return an error's name: the text beside it may quote anything."""
    kind = document.get("__type") if isinstance(document, dict) else None
    name = str(kind or "").rpartition("#")[2].partition(":")[0]
    return name if _CODE.fullmatch(name) else None


def _value(answer: Mapping[str, Any], reference: Reference) -> str:
    value = answer.get("SecretString")
    if answer.get("VersionId") != reference.version:
        raise Unfetched("Secrets Manager answered with another version")
    if not isinstance(value, str) or not value:
        raise Unfetched("the secret is no text")
    if "\0" in value or not _is_unicode(value):
        raise Unfetched("the secret cannot be a variable's value")
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return False
    return True
