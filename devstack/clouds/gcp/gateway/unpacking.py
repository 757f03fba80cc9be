"""Packages as a revision has them, from the archives that were uploaded."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.clouds.unpacking import Entry, Trees


class Unpacker:
    """The trees of a folder, by the SHA-256 of their packages."""

    def __init__(self, trees: Path) -> None:
        self._trees = Trees(trees)

    def unpack(self, package: bytes) -> Path:
        """Return the tree of a package; it is made once."""
        return self._trees.tree(hashlib.sha256(package).hexdigest()[:32], functools.partial(_opened, package))

    def remove(self) -> None:
        self._trees.remove()


@contextmanager
def _opened(package: bytes) -> Iterator[Iterator[Entry]]:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        yield (_entry(archive, member) for member in archive if member.isfile())


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    opened = archive.extractfile(member)
    assert opened is not None, "a file has content"
    content = opened.read()
    return Entry(member.name, hashlib.sha256(content).hexdigest(), member.mode, lambda: content)
