"""Images on their way from `actions` to the vision step: `s3://`, `gs://` or `file://`, one interface.

They do not travel in queue messages (D38). Credentials are the platform's own (the function's role); the
library finds them by itself. It is imported at the first use: most lanes never need it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from shared.errors import BlobUnavailable, NotFound

CONNECT_TIMEOUT_SECONDS = 2.0
TIMEOUT_SECONDS = 20.0
MAX_KEY_LENGTH = 512

IMAGES = "images"
"""The folder of all pictures."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


def images_of(user_id: str) -> str:
    """Return the folder of a user's images, whose id is hidden in a safe name."""
    owner = base64.urlsafe_b64encode(hashlib.sha256(user_id.encode()).digest()[:18]).decode()
    return f"{IMAGES}/{owner}"


def image_key(user_id: str, task_id: str) -> str:
    return f"{images_of(user_id)}/{task_id}"


class BlobStore:
    """A bucket, or a folder below one. Thread-safe; nothing is connected or created before the first use.

    Keys are names of our own making, separated by slashes; any other is a ValueError. A store that refuses,
    breaks or does not answer within `timeout_seconds` is BlobUnavailable.
    """

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._is_local = url.startswith("file:")
        self._timeout_seconds = timeout_seconds

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data` under `key`, whole or not at all; what was there is replaced."""
        import obstore

        attributes = None if self._is_local else {"Content-Type": content_type}  # a file has none
        _check(key)
        with _translated():
            obstore.put(self._objects, key, data, attributes=attributes, use_multipart=False)

    def get(self, key: str) -> bytes:
        """Return what is stored under `key`.

        Raises:
            NotFound: nothing is.
        """
        import obstore

        _check(key)
        with _translated():
            try:
                return bytes(obstore.get(self._objects, key).bytes())
            except FileNotFoundError:
                raise NotFound(f"There is no blob {key}.") from None

    def delete_prefix(self, prefix: str) -> int:
        """Delete `prefix` itself and every key below it (`prefix/…`); returns how many were below it."""
        import obstore

        _check(prefix)
        with _translated():
            below = [entry["path"] for page in obstore.list(self._objects, prefix=prefix) for entry in page]
            removed = sum(self._delete(key) for key in below)
            self._delete(prefix)  # last: a file system's empty folder has gone by then
            return removed

    def delete_older(self, prefix: str, age_seconds: float) -> int:
        """Delete every key below `prefix` that was written more than `age_seconds` ago; returns how many."""
        from datetime import UTC, datetime, timedelta

        import obstore

        _check(prefix)
        before = datetime.now(UTC) - timedelta(seconds=age_seconds)
        with _translated():
            entries = [entry for page in obstore.list(self._objects, prefix=prefix) for entry in page]
            return sum(self._delete(entry["path"]) for entry in entries if entry["last_modified"] < before)

    def _delete(self, key: str) -> bool:
        """Delete one key; tell whether it was there, as far as the store tells (S3 does not)."""
        import obstore

        try:
            obstore.delete(self._objects, key)
        except FileNotFoundError:
            return False
        return True

    @cached_property
    def _objects(self) -> Any:
        from datetime import timedelta

        from obstore.store import from_url

        if self._is_local:
            return from_url(self._url, mkdir=True, automatic_cleanup=True)
        limit = timedelta(seconds=self._timeout_seconds)
        connect_limit = timedelta(seconds=min(CONNECT_TIMEOUT_SECONDS, self._timeout_seconds))
        return from_url(
            self._url,
            client_options={
                "timeout": limit,
                "connect_timeout": connect_limit,
                "allow_http": True,  # only where an endpoint of the platform's variables says so
            },
            retry_config={"max_retries": 2, "retry_timeout": limit},
        )


def _check(key: str) -> None:
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise ValueError(f"not a key of a blob: {key!r}")


@contextmanager
def _translated() -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:  # its text may hold addresses: for the chained traceback only
        raise BlobUnavailable(f"The file store failed ({type(error).__name__}).") from error
