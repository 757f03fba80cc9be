"""Notes of rotations that are under way, in the environment's store: versions of secrets, never values.

A note is written before the first step that somebody could notice and removed after the last proof. Whoever
finds one goes on with that rotation instead of beginning another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from deployment.ledger import now_seconds
from deployment.objects import ObjectStore
from deployment.states import SecretPin

PREFIX = "rotations/"


class Stage(StrEnum):
    """How far a rotation has come, for certain."""

    ROLLING = "rolling"
    """QStash has rolled its keys; the new pair is not proven everywhere."""
    OFFERED = "offered"
    """The new secret is to be taken everywhere; nobody signs with it."""
    SIGNING = "signing"
    """It is taken everywhere, and is to sign from now on."""
    BOTH = "both"
    """Both are taken; what the old one signed is still about."""
    ENDING = "ending"
    """The old one is to be taken no longer."""


@dataclass(frozen=True, slots=True)
class Note:
    """One rotation that is under way."""

    subject: str
    """The variable, or `signing-keys`."""
    stage: Stage
    pins: Mapping[str, SecretPin]
    """The versions it goes from and to, by what they are."""
    at: float = field(default_factory=now_seconds)
    """When this stage was reached, in seconds since the epoch."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        pins = {name: SecretPin(**pin) for name, pin in document["pins"].items()}
        return cls(document["subject"], Stage(document["stage"]), pins, document["at"])


def read_note(objects: ObjectStore, subject: str) -> Note | None:
    """Return what is under way; None when nothing is."""
    stored = objects.get(_key(subject))
    return Note.from_json(json.loads(stored.content)) if stored else None


def write_note(objects: ObjectStore, note: Note) -> Note:
    """Write down how far a rotation has come, in place of what was written before."""
    objects.put(_key(note.subject), json.dumps(note.to_json(), indent=1).encode())
    return note


def forget_note(objects: ObjectStore, subject: str) -> None:
    """Remove the note of a rotation that is complete."""
    objects.delete(_key(subject))


def _key(subject: str) -> str:
    return f"{PREFIX}{subject}.json"
