"""Packages unpacked as a revision has them: nothing in there can be written.

The five lanes' packages are alike but for a handful of files among thousands. So each file is written once,
below `.files/` by its content and mode, and linked into every tree that has it.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import threading
import uuid
from pathlib import Path

_FOLDER_MODE = 0o555
_FILE_MODE = 0o444


class Unpacker:
    """The trees of a folder, by the SHA-256 of their packages."""

    def __init__(self, trees: Path) -> None:
        self._trees = trees
        # Several revisions start at once: the first writes what the others then only link.
        self._one_at_a_time = threading.Lock()

    def unpack(self, package: bytes) -> Path:
        """Return the tree of a package; it is made once."""
        tree = self._trees / hashlib.sha256(package).hexdigest()[:32]
        with self._one_at_a_time:
            if not tree.exists():
                partial = self._trees / f".{uuid.uuid4().hex}"
                with tarfile.open(fileobj=io.BytesIO(package)) as archive:
                    self._fill(partial, archive)
                partial.rename(tree)
        return tree

    def remove(self) -> None:
        """Remove all trees: their folders have to be made writable first."""
        for each in (self._trees, *self._trees.rglob("*")):
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o755)
        shutil.rmtree(self._trees, ignore_errors=True)

    def _fill(self, tree: Path, archive: tarfile.TarFile) -> None:
        folders = {tree}
        tree.mkdir(parents=True)
        for member in archive:
            content = archive.extractfile(member)
            if content is None:
                continue
            place = tree / member.name
            folders.update(each for each in place.parents if tree in each.parents)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(self._kept(content.read(), _FILE_MODE | (member.mode & 0o111)))
        for folder in folders:
            folder.chmod(_FOLDER_MODE)

    def _kept(self, content: bytes, mode: int) -> Path:
        name = f"{hashlib.sha256(content).hexdigest()}-{mode:o}"
        kept = self._trees / ".files" / name[:2] / name
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(".partial")
            aside.unlink(missing_ok=True)
            aside.write_bytes(content)
            aside.chmod(mode)
            aside.rename(kept)
        return kept
