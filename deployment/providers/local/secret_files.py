"""Secrets of an environment on this machine: one file of mode 0600 for each, with all of its versions.

A version's id is its number and a few random digits: never a digest of the value, which would tell of a weak
one, and never the same again for another value after a secret was removed.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from deployment.bundles.exclusion import exclusive
from deployment.errors import MissingSecret
from deployment.providers.local.private_files import make_private, write_private
from deployment.secret_store import SecretState
from deployment.states import SecretPin

_RANDOM_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Version:
    id: str
    number: int
    request_id: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """A `SecretStore` in a folder of mode 0700."""

    folder: Path

    def describe(self, names: Iterable[str]) -> Mapping[str, SecretState]:
        found = {name: self._read(name) for name in names}
        return {
            name: SecretState(name, versions[0].id, tuple(version.id for version in versions))
            for name, versions in found.items()
            if versions
        }

    def read(self, pin: SecretPin) -> str:
        for version in self._read(pin.name):
            if version.id == pin.version:
                return version.value
        raise MissingSecret(f"The secret {pin.name} has no version {pin.version} on this machine.")

    def put(self, name: str, value: str, *, request_id: str) -> str:
        make_private(self.folder)
        with exclusive(self.folder):
            versions = self._read(name)
            for version in versions:
                if version.request_id == request_id:
                    return version.id
            number = versions[0].number + 1 if versions else 1
            new = _Version(f"{number}-{secrets.token_hex(_RANDOM_BYTES)}", number, request_id, value)
            self._write(name, [new, *versions])
            return new.id

    def keep_only(self, pins: Iterable[SecretPin]) -> None:
        kept: dict[str, set[str]] = {}
        for pin in pins:
            kept.setdefault(pin.name, set()).add(pin.version)
        for name in self._names():
            with exclusive(self.folder):
                versions = self._read(name)
                left = [v for v in versions if v is versions[0] or v.id in kept.get(name, set())]
                if left != versions:
                    self._write(name, left)

    def remove(self, name: str) -> None:
        if self._path(name).is_file():
            with exclusive(self.folder):
                self._path(name).unlink(missing_ok=True)
        if self.folder.is_dir() and not self._names():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _names(self) -> list[str]:
        return sorted(json.loads(path.read_bytes())["name"] for path in self.folder.glob("*.json"))

    def _read(self, name: str) -> list[_Version]:
        """Return the versions of a secret, the newest first; a file is replaced as a whole, so no lock."""
        try:
            document = json.loads(self._path(name).read_bytes())
        except FileNotFoundError:
            return []
        return [_Version(**version) for version in document["versions"]]

    def _write(self, name: str, versions: list[_Version]) -> None:
        document = {"name": name, "versions": [asdict(version) for version in versions]}
        write_private(self._path(name), json.dumps(document, indent=1).encode())

    def _path(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe='')}.json"
