"""The environment's store of objects: packages, releases, the lock. What lock and ledger need of a bucket.

Each write may be conditional, and the store decides it: of several writers that expect the same version
exactly one succeeds (S3: If-Match and If-None-Match; Google: generations; local: a lock on the folder).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from deployment.errors import DeployError


class Conflict(DeployError):
    """A conditional write was refused: the object is not as the writer expected it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object and the version of it that was read."""

    content: bytes
    version: str


class Condition:
    """What a write may ask of the object as it is."""

    ANY: Final = "any"
    """Nothing: it is written whatever is there."""
    ABSENT: Final = "absent"
    """That there is none."""


class ObjectStore(Protocol):
    """A bucket, or a folder that stands for one."""

    def ensure(self) -> None:
        """Make the store if there is none; writes nothing when it is there and ours.

        Raises:
            ForeignResource: there is one of that name that is not ours.
        """

    def get(self, key: str) -> Stored | None:
        """Return an object, None when there is none (also when the store itself is missing)."""

    def put(self, key: str, content: bytes, *, only_if: str = Condition.ANY) -> str:
        """Write an object and return its version.

        Args:
            key: its name, with `/` between parts.
            content: what it holds from then on.
            only_if: `Condition.ANY`, `Condition.ABSENT`, or the version that must be there now.

        Raises:
            Conflict: the condition does not hold; nothing was written.
        """

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def destroy(self) -> None:
        """Remove the store with all that is in it; one that is not there is no error."""
