"""The kill switch's memory: which functions are stopped, by whom and why, kept in the environment's store.

Whoever deploys while a lane is stopped leaves it stopped: the capacity that is wanted of it is none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from deployment.objects import ObjectStore

PREFIX = "stops/"


@dataclass(frozen=True, slots=True)
class Stop:
    """One function that takes no calls."""

    function: str
    who: str
    at: float
    """Seconds since the epoch."""
    why: str


def stops(objects: ObjectStore) -> dict[str, Stop]:
    """Return what is stopped, by function."""
    read = [objects.get(key) for key in objects.list(PREFIX)]
    found = [Stop(**json.loads(stored.content)) for stored in read if stored is not None]
    return {stop.function: stop for stop in found}


def note_stop(objects: ObjectStore, stop: Stop) -> None:
    objects.put(f"{PREFIX}{stop.function}.json", json.dumps(asdict(stop)).encode())


def forget_stop(objects: ObjectStore, function: str) -> None:
    objects.delete(f"{PREFIX}{function}.json")
