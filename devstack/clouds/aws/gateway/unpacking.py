"""Packages as Lambda has them at /var/task, from the zips that were uploaded."""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.clouds.unpacking import Entry, Trees


class Unpacker:
    """The trees of a folder, by the SHA-256 of their packages."""

    def __init__(self, packages: Path, trees: Path) -> None:
        self._packages = packages
        self._trees = Trees(trees)

    def unpack(self, package: str) -> Path:
        """Return the tree of a package; it is made once."""
        return self._trees.tree(package, functools.partial(_opened, self._packages / f"{package}.zip"))

    def remove(self) -> None:
        self._trees.remove()


@contextmanager
def _opened(file: Path) -> Iterator[Iterator[Entry]]:
    with zipfile.ZipFile(file) as archive:
        yield (_entry(archive, member) for member in archive.infolist() if not member.is_dir())


def _entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    # Its path, length and CRC tell a file without reading it: thousands are shared by all lanes.
    facts = f"{member.filename} {member.CRC} {member.file_size}"
    identity = hashlib.sha256(facts.encode()).hexdigest()
    return Entry(member.filename, identity, member.external_attr >> 16, lambda: archive.read(member))
