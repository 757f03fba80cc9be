"""Packages unpacked as Lambda has them at /var/task: nothing in there can be written.

The five lanes' packages are alike but for a handful of files among thousands. So each file is written once,
below `.files/`, and linked into every tree that has it: by its path, its length and the CRC in the zip.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import uuid
import zipfile
from pathlib import Path

_FOLDER_MODE = 0o555
_FILE_MODE = 0o444


class Unpacker:
    """The trees of a folder, by the SHA-256 of their packages."""

    def __init__(self, packages: Path, trees: Path) -> None:
        self._packages = packages
        self._trees = trees
        # Several functions start at once: the first writes what the others then only link.
        self._one_at_a_time = threading.Lock()

    def unpack(self, package: str) -> Path:
        """Return the tree of a package; it is made once."""
        tree = self._trees / package
        with self._one_at_a_time:
            if not tree.exists():
                partial = self._trees / f".{package}.{uuid.uuid4().hex}"
                with zipfile.ZipFile(self._packages / f"{package}.zip") as archive:
                    self._fill(partial, archive)
                partial.rename(tree)
        return tree

    def remove(self) -> None:
        """Remove all trees: their folders have to be made writable first."""
        for each in (self._trees, *self._trees.rglob("*")):
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o755)
        shutil.rmtree(self._trees, ignore_errors=True)

    def _fill(self, tree: Path, archive: zipfile.ZipFile) -> None:
        folders = {tree}
        tree.mkdir(parents=True)
        for member in archive.infolist():
            place = tree / member.filename
            parent = place if member.is_dir() else place.parent
            if parent not in folders:
                parent.mkdir(parents=True, exist_ok=True)
                folders.update(each for each in parent.parents if tree in (each, *each.parents))
                folders.add(parent)
            if not member.is_dir():
                place.hardlink_to(self._kept(archive, member))
        for folder in folders:
            folder.chmod(_FOLDER_MODE)

    def _kept(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Path:
        mode = _FILE_MODE | ((member.external_attr >> 16) & 0o111)
        facts = f"{member.filename} {member.CRC} {member.file_size} {mode}"
        name = hashlib.sha256(facts.encode()).hexdigest()
        kept = self._trees / ".files" / name[:2] / name
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(".partial")
            aside.unlink(missing_ok=True)
            aside.write_bytes(archive.read(member))
            aside.chmod(mode)
            aside.rename(kept)
        return kept
