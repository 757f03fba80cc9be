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
NAMED = 10
"""How many releases a refusal names."""


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


def releases(objects: ObjectStore, newest: int | None = None) -> list[Release]:
    """Return the releases that are recorded, the newest first.

    Args:
        objects: the environment's store.
        newest: how many of them; every other one is not read. None: all.
    """
    keys = sorted(objects.list(PREFIX), reverse=True)  # their numbers are padded, so they sort by age
    read = [objects.get(key) for key in keys[:newest]]
    return [Release.from_json(json.loads(stored.content)) for stored in read if stored is not None]


def find_release(objects: ObjectStore, number: int) -> Release:
    """Return one release.

    Raises:
        Refused: there is none of that number, or it has been forgotten.
    """
    stored = objects.get(_key(number))
    if stored is not None:
        return Release.from_json(json.loads(stored.content))
    keys = sorted(objects.list(PREFIX), reverse=True)
    known = ", ".join(str(int(key.removeprefix(PREFIX).removesuffix(".json"))) for key in keys[:NAMED])
    older = ", and older ones" if len(keys) > NAMED else ""
    raise Refused(f"There is no release {number} (there are: {known or 'none'}{older}).")


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
    key = _key(release.number)
    try:
        objects.put(key, json.dumps(release.to_json(), indent=1).encode(), only_if=Condition.ABSENT)
    except Conflict as taken:
        stored = objects.get(key)
        if stored is None or json.loads(stored.content)["states"] != release.to_json()["states"]:
            raise Refused(
                f"Release {release.number} has been recorded by somebody else meanwhile."
            ) from taken


def _key(number: int) -> str:
    return f"{PREFIX}{number:06d}.json"


def now_seconds() -> float:
    return round(time.time(), 3)
