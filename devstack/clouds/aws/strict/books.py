"""What the rules remember that moto does not: one JSON document, in memory or in a file.

    clock       how many calls there have been; what takes time on AWS takes calls here
    functions   by ARN without qualifier:
        records   by version ($LATEST too): revision, code digest and size, kept settings, polls until settled
        gone      versions that were deleted (moto keeps them, so that their numbers are never used again)
        published the last version, and the digest of what it was made of
        aliases   revision by name
        urls      function URL configurations by qualifier
        policies  resource policy statements by qualifier
        reserved  how many executions are reserved
    roles       the clock at which each role was made

Whoever handles a call has the document to themselves, in every process: AWS decides
calls of one function one after another too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypedDict

_NAMESPACE = uuid.UUID("6b1f7a0e-5a3e-4a52-9a49-6b8a5f3a2c11")


class Record(TypedDict):
    """What is known of one version, beside moto's configuration of it."""

    revision: str
    sha: str
    size: int
    settings: dict[str, Any]
    polls: int
    """Reads until it is settled; -1 once it is."""
    state: str
    update: str


class FunctionBook(TypedDict):
    """What is known of one function."""

    records: dict[str, Record]
    gone: list[str]
    published: dict[str, str] | None
    aliases: dict[str, str]
    urls: dict[str, dict[str, Any]]
    policies: dict[str, list[dict[str, Any]]]
    reserved: int | None


class Book:
    """The document, while a call has it to itself."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.functions: dict[str, FunctionBook] = document.setdefault("functions", {})
        self.roles: dict[str, int] = document.setdefault("roles", {})

    @property
    def clock(self) -> int:
        return int(self.document.get("clock", 0))

    def tick(self) -> None:
        self.document["clock"] = self.clock + 1

    def function(self, arn: str) -> FunctionBook | None:
        return self.functions.get(arn)


def new_token(book: Book) -> str:
    """Return an id that was never returned before; the same in every run of the same calls."""
    serial = book.document["serial"] = int(book.document.get("serial", 0)) + 1
    return str(uuid.uuid5(_NAMESPACE, str(serial)))


def new_function() -> FunctionBook:
    """Return what is known of a function that has just been made."""
    latest = Record(revision="", sha="", size=0, settings={}, polls=-1, state="Active", update="Successful")
    return FunctionBook(
        records={"$LATEST": latest}, gone=[], published=None, aliases={}, urls={}, policies={}, reserved=None
    )


class State(Protocol):
    """Where the document is kept."""

    def opened(self) -> contextlib.AbstractContextManager[Book]:
        """Give the document to one call alone; what it changed is kept, also when the call is refused."""

    def keep_code(self, sha256: str, package: bytes) -> None:
        """Keep a package by its digest (hexadecimal), for whoever runs the functions."""


class MemoryState:
    """The document of one process; packages are not kept, since nobody runs them."""

    def __init__(self) -> None:
        self._book = Book({})
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Book]:
        with self._lock:
            yield self._book

    def keep_code(self, sha256: str, package: bytes) -> None:
        """Keep nothing."""


class FileState:
    """The document of several processes: `strict.json` in a folder, under a lock, and packages beside it."""

    def __init__(self, folder: Path) -> None:
        self.code_folder = folder / "code"
        self._file = folder / "strict.json"
        self._lock_file = folder / "strict.lock"
        self._threads = threading.RLock()
        self.code_folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Book]:
        with self._threads, self._lock_file.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            book = self.read()
            try:
                yield book
            finally:
                self._write(book)

    def read(self) -> Book:
        """Return the document as it was after some call; whoever only looks need not wait for the lock."""
        try:
            return Book(json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return Book({})

    def keep_code(self, sha256: str, package: bytes) -> None:
        target = self.code_folder / f"{sha256}.zip"
        if not target.exists():
            partial = target.with_name(f"{sha256}.{uuid.uuid4().hex}.partial")
            partial.write_bytes(package)
            partial.replace(target)

    def _write(self, book: Book) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(book.document))
        partial.replace(self._file)
