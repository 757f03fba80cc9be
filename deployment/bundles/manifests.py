"""A package's manifest: what is in it, its identity, and what it was made from and with.

The identity is the content digest. Beside it, never in it, stand what may differ between two builders of the
same package: the zip's own sha256 (which Lambda shows as `CodeSha256`), the tools, the revision in git.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from deployment.bundles.archives import Member
from deployment.bundles.targets import Target

_FORMAT = 1
SHORT_DIGEST = 12
"""Characters of a digest that name a package's files."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file of a package."""

    path: str
    mode: str
    """`644` or `755`."""
    sha256: str
    size_bytes: int
    zipped_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """The revision that a package was built from."""

    revision: str
    dirty: bool
    """Whether the work tree differed from it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one package."""

    function: str
    digest: str
    """The identity: target, and each file's path, mode and content, but no bytecode. Hexadecimal."""
    recipe: str
    """Of all that went in: equal recipes need no second build. Hexadecimal."""
    python: str
    platform: str
    bytecode: bool
    zip_sha256: str
    zip_bytes: int
    unzipped_bytes: int
    sbom_sha256: str
    lock_sha256: str
    modules_at_start: tuple[str, ...] | None
    """What `import main` loads; None when the target's platform does not run on the builder."""
    tools: dict[str, str | None]
    source: Source | None
    """None outside of git."""
    files: tuple[PackagedFile, ...]

    @property
    def code_sha256(self) -> str:
        """Return the zip's sha256 in base64: Lambda's `CodeSha256`."""
        return base64.b64encode(bytes.fromhex(self.zip_sha256)).decode()

    @property
    def stem(self) -> str:
        """Return what the names of the package's files begin with."""
        return f"{self.function}-{self.digest[:SHORT_DIGEST]}"

    def to_text(self) -> str:
        document = {"format": _FORMAT, **asdict(self), "code_sha256": self.code_sha256}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """Return the manifest that `to_text` wrote; None for one of another format."""
        document: dict[str, Any] = json.loads(text)
        if document.pop("format") != _FORMAT:
            return None
        del document["code_sha256"]
        loaded, source = document["modules_at_start"], document["source"]
        return cls(
            **{
                **document,
                "modules_at_start": None if loaded is None else tuple(loaded),
                "source": source and Source(**source),
                "files": tuple(PackagedFile(**file) for file in document["files"]),
            }
        )


def package_digest(members: Iterable[Member], target: Target, *, bytecode: bool) -> str:
    """Return the identity of a package: the same wherever and whenever it is built."""
    digest = hashlib.sha256(f"{target.python}\0{target.platform}\0{bytecode}\n".encode())
    for member in sorted(members, key=lambda member: member.path):
        if not member.compiled:
            digest.update(f"{member.path}\0{member.mode:o}\0{member.sha256}\n".encode())
    return digest.hexdigest()


def read_source(root: Path) -> Source | None:
    """Return the revision of a checkout; None when it is none, or there is no git."""
    revision = _git(root, "rev-parse", "--verify", "HEAD")
    changes = _git(root, "status", "--porcelain") if revision is not None else None
    if revision is None or changes is None:
        return None
    return Source(revision, dirty=bool(changes))


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
