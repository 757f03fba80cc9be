"""The ledger: what was released, when, by whom and of what, one immutable object for each release.

It is history and what a rollback goes by, never the truth about what runs: that is read from the provider
each time. A release is written last, once all of it is live; without its record an environment still
works, and the next apply writes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from deployment.errors import Refused
from deployment.objects import Condition, Conflict, ObjectStore
from deployment.planner import Past
from deployment.resources import Properties
from deployment.states import FunctionState

PREFIX = "releases/"


@dataclass(frozen=True, slots=True)
class Release:
    """One release: all functions, whole."""

    number: int
    at: float
    """Seconds since the epoch."""
    who: str
    note: str
    revision: str
    """The git revision it was built from, with `+changes` when files were not committed; or empty."""
    token: int
    """The fencing token of the lock under which it was made."""
    states: Mapping[str, FunctionState]
    settings: Mapping[str, Mapping[str, Properties]]

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at": self.at,
            "who": self.who,
            "note": self.note,
            "revision": self.revision,
            "token": self.token,
            "states": {name: state.to_json() for name, state in self.states.items()},
            "settings": {name: dict(kinds) for name, kinds in self.settings.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        states = {name: FunctionState.from_json(state) for name, state in document["states"].items()}
        return cls(**{**document, "states": states})


def releases(objects: ObjectStore) -> list[Release]:
    """Return every release that is recorded, the newest first."""
    read = [objects.get(key) for key in objects.list(PREFIX)]
    found = [Release.from_json(json.loads(stored.content)) for stored in read if stored is not None]
    return sorted(found, key=lambda release: release.number, reverse=True)


def find_release(objects: ObjectStore, number: int) -> Release:
    """Return one release.

    Raises:
        Refused: there is none of that number, or it has been forgotten.
    """
    found = releases(objects)
    for release in found:
        if release.number == number:
            return release
    known = ", ".join(str(release.number) for release in found) or "none"
    raise Refused(f"There is no release {number} (there are: {known}).")


def past_of(found: list[Release], keep: int) -> Past:
    """Return what the planner needs to know of the releases, given the newest first."""
    if not found:
        return Past()
    newest = found[0]
    return Past(newest.number, newest.states, newest.settings, tuple(r.states for r in found[:keep]))


def record(objects: ObjectStore, release: Release) -> None:
    """Write a release; the same one again is no error.

    Raises:
        Refused: another one has taken its number: somebody else deployed at the same time.
    """
    key = f"{PREFIX}{release.number:06d}.json"
    try:
        objects.put(key, json.dumps(release.to_json(), indent=1).encode(), only_if=Condition.ABSENT)
    except Conflict as taken:
        stored = objects.get(key)
        if stored is None or json.loads(stored.content)["states"] != release.to_json()["states"]:
            raise Refused(
                f"Release {release.number} has been recorded by somebody else meanwhile."
            ) from taken


def now_seconds() -> float:
    return round(time.time(), 3)
