"""Packages unpacked as a cloud has them: nothing in there can be written.

The five lanes' packages are alike but for a handful of files among thousands. So each file is written once,
below `.files/`, and linked into every tree that has it.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

_FOLDER_MODE = 0o555
_FILE_MODE = 0o444
_EXECUTABLE = 0o111


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a package."""

    path: str
    identity: str
    """Equal for files of equal content."""
    mode: int
    """As the package says; only whether it can be executed counts."""
    read: Callable[[], bytes]


Opened = Callable[[], AbstractContextManager[Iterator[Entry]]]
"""Opens a package."""


class Trees:
    """The trees of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Several functions start at once: the first writes what the others then only link.
        self._one_at_a_time = threading.Lock()

    def tree(self, name: str, opened: Opened) -> Path:
        """Return the tree of that name; it is made once, whole or not at all."""
        tree = self._folder / name
        with self._one_at_a_time:
            if not tree.exists():
                partial = self._folder / f".{uuid.uuid4().hex}"
                with opened() as entries:
                    self._fill(partial, entries)
                partial.rename(tree)
        return tree

    def remove(self) -> None:
        """Remove all trees: their folders have to be made writable first."""
        for each in (self._folder, *self._folder.rglob("*")):
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o755)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fill(self, tree: Path, entries: Iterator[Entry]) -> None:
        folders = {tree}
        tree.mkdir(parents=True)
        for entry in entries:
            place = tree / entry.path
            if place.parent not in folders:
                place.parent.mkdir(parents=True, exist_ok=True)
                folders.update(each for each in place.parents if tree in each.parents)
            place.hardlink_to(self._kept(entry))
        for folder in folders:
            folder.chmod(_FOLDER_MODE)

    def _kept(self, entry: Entry) -> Path:
        mode = _FILE_MODE | (entry.mode & _EXECUTABLE)
        kept = self._folder / ".files" / entry.identity[:2] / f"{entry.identity}-{mode:o}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(".partial")
            aside.unlink(missing_ok=True)
            aside.write_bytes(entry.read())
            aside.chmod(mode)
            aside.rename(kept)
        return kept
