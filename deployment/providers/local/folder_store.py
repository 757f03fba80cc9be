"""The store of releases and of the lock, as a folder: one file for each object.

Every access holds a lock on the folder, so that of several writers with the same condition one succeeds. A
version is a count of the object's writes and the digest of its content: the count tells equal contents apart,
the digest keeps a version true when a writer is killed between the content and the count.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from deployment.bundles.exclusion import exclusive
from deployment.objects import Condition, Conflict, Stored
from deployment.providers.local.private_files import make_private, write_private

_COUNTS = ".counts.json"
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class FolderStore:
    """An `ObjectStore`; keys are relative paths whose parts do not begin with a dot."""

    folder: Path

    def ensure(self) -> None:
        make_private(self.folder)

    def get(self, key: str) -> Stored | None:
        if not self._path(key).is_file():
            return None
        with exclusive(self.folder):
            return self._read(key)

    def put(self, key: str, content: bytes, *, only_if: str = Condition.ANY) -> str:
        self.ensure()
        with exclusive(self.folder):
            there = self._read(key)
            if only_if not in {Condition.ANY, there.version if there else Condition.ABSENT}:
                raise Conflict(f"{key} is not as it was expected: somebody else has written it.")
            counts = self._counts()
            # The content first: killed in between, the version that is read then is nobody's expectation.
            write_private(self._path(key), content)
            counts[key] = counts.get(key, 0) + 1
            write_private(self.folder / _COUNTS, json.dumps(counts).encode())
            return _version(counts[key], content)

    def list(self, prefix: str) -> list[str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        keys = (path.relative_to(self.folder) for path in found)
        shown = (key.as_posix() for key in keys if not any(part.startswith(".") for part in key.parts))
        return sorted(key for key in shown if key.startswith(prefix))

    def delete(self, key: str) -> None:
        if self._path(key).is_file():
            with exclusive(self.folder):
                self._path(key).unlink(missing_ok=True)  # its count stays: the next one is no old version

    def destroy(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # what the folder stood in may hold something else
            (self.folder.parent / ".lock").unlink(missing_ok=True)
            self.folder.parent.rmdir()

    def _read(self, key: str) -> Stored | None:
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(content, _version(self._counts().get(key, 0), content))

    def _counts(self) -> dict[str, int]:
        try:
            counts: dict[str, int] = json.loads((self.folder / _COUNTS).read_bytes())
        except FileNotFoundError:
            return {}
        return counts

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(not part or part.startswith(".") for part in parts):
            raise ValueError(f"{key!r} cannot be an object's key")
        return self.folder.joinpath(*parts)


def _version(count: int, content: bytes) -> str:
    return f"{count}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}"
