"""What is in the queues and the slots right now, read from Redis in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.config import ConcurrencyConfig
from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.overview import MODEL_TIERS
from shared.state.store import Store


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a limit is in use."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """Every lane's places, every (model, tier)'s slots, the number of open tasks."""

    places: Mapping[Lane, Level]
    slots: Mapping[tuple[Model, Tier], Level]
    open_tasks: int

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is queued, running or open."""
        levels = (*self.places.values(), *self.slots.values())
        return self.open_tasks == 0 and all(level.used == 0 for level in levels)

    def to_json(self) -> dict[str, Any]:
        return {
            "places": {lane: [level.used, level.limit] for lane, level in self.places.items()},
            "slots": {f"{m}.{tier}": [level.used, level.limit] for (m, tier), level in self.slots.items()},
            "openTasks": self.open_tasks,
        }


def read_gauges(store: Store, limits: ConcurrencyConfig) -> Gauges:
    """Read all gauges. Slots count every holder, also one whose lease lapsed and whom nobody removed."""
    commands = [("ZCARD", keys.queue(lane)) for lane in Lane]
    commands += [("ZCARD", keys.slots(model, tier)) for model, tier in MODEL_TIERS]
    counts = store.pipeline([*commands, ("ZCARD", keys.OPEN_TASKS)])
    queued, held = counts[: len(Lane)], counts[len(Lane) : -1]
    return Gauges(
        places={lane: Level(used, limits.places(lane)) for lane, used in zip(Lane, queued, strict=True)},
        slots={pair: Level(used, limits.slots(*pair)) for pair, used in zip(MODEL_TIERS, held, strict=True)},
        open_tasks=counts[-1],
    )
