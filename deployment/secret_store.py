"""The environment's secrets, by name and version: what deploying needs of a secret manager.

A revision pins versions, so that code, configuration and secrets roll back together. Values pass through
this interface alone, and only for those who sign a probe or rotate a key; they never reach a plan, a log
or a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from deployment.states import SecretPin


@dataclass(frozen=True, slots=True)
class SecretState:
    """What there is of a secret, without its values."""

    name: str
    current: str
    """The version that new revisions pin."""
    versions: tuple[str, ...]
    """Every version that can still be read, the newest first."""
    ours: bool = True
    """Whether it carries our tags."""


class SecretStore(Protocol):
    """A secret manager, seen from one environment."""

    def describe(self, names: Iterable[str]) -> Mapping[str, SecretState]:
        """Return what there is of each; a name without a secret, or without a value, is left out."""

    def read(self, pin: SecretPin) -> str:
        """Return one version's value.

        Raises:
            MissingSecret: there is no such version.
        """

    def put(self, name: str, value: str, *, request_id: str) -> str:
        """Add a version that is the current one from then on, and return its id.

        The secret is made if there is none. The same request sent twice, with the same `request_id`, is one
        version: a lost answer can be asked for again.

        Raises:
            ForeignResource: there is one of that name that is not ours.
        """

    def keep_only(self, pins: Iterable[SecretPin]) -> None:
        """Let go of versions that are neither current nor pinned; writes nothing when there are none."""

    def remove(self, name: str) -> None:
        """Remove a secret with all its versions; one that is not there is no error."""
