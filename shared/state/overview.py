"""What is queued, what runs and what is open at this moment, read in one round trip. Changes nothing.

A slot counts while its lease has not lapsed on Redis's clock, as `claim_task` counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.config import ConcurrencyConfig
from shared.routing import ROUTES, Lane, Model, Tier
from shared.state import keys
from shared.state.store import Store

MODEL_TIERS: Sequence[tuple[Model, Tier]] = tuple(
    sorted({(route.model, tier) for (_, tier), route in ROUTES.items()})
)


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane's queue."""

    lane: Lane
    places_used: int
    places: int
    oldest_ms: int | None
    """How long its oldest step has been in the queue, waiting and running; None when it is empty."""
    interval_ms: float | None
    """Mean time between two ends of steps, None before the second."""


@dataclass(frozen=True, slots=True)
class Holder:
    """An attempt that holds a slot."""

    task_id: str
    step: int
    lease_ms: int
    """How much of its lease is left."""


@dataclass(frozen=True, slots=True)
class SlotView:
    """The slots of one model for one tier."""

    model: Model
    tier: Tier
    slots: int
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment, of Redis's clock."""

    at_ms: int
    lanes: tuple[LaneView, ...]
    slots: tuple[SlotView, ...]
    open_tasks: int
    overdue_tasks: int
    """Open beyond their deadline: the next touch or sweep looks after them."""


def read_overview(store: Store, limits: ConcurrencyConfig) -> Overview:
    """Read all of it.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    commands: list[tuple[str | int, ...]] = [("TIME",), ("HGETALL", keys.QUEUE_RATES)]
    commands += [("ZCARD", keys.OPEN_TASKS), ("ZRANGE", keys.OPEN_TASKS, 0, -1, "WITHSCORES")]
    commands += [("ZCARD", keys.queue(lane)) for lane in Lane]
    commands += [("ZRANGE", keys.queue(lane), 0, 0, "WITHSCORES") for lane in Lane]
    commands += [("ZRANGE", keys.slots(*pair), 0, -1, "WITHSCORES") for pair in MODEL_TIERS]
    time, rates, open_tasks, deadlines, *rest = store.pipeline(commands)
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    counts, oldest, held = rest[: len(Lane)], rest[len(Lane) : 2 * len(Lane)], rest[2 * len(Lane) :]
    measured = dict(zip(rates[::2], rates[1::2], strict=True))
    return Overview(
        at_ms=now_ms,
        lanes=tuple(
            LaneView(
                lane=lane,
                places_used=count,
                places=limits.places(lane),
                oldest_ms=max(0, now_ms - int(float(first[1]))) if first else None,
                interval_ms=_number(measured, f"{lane}:ms"),
            )
            for lane, count, first in zip(Lane, counts, oldest, strict=True)
        ),
        slots=tuple(
            SlotView(model, tier, limits.slots(model, tier), tuple(_holders(flat, now_ms)))
            for (model, tier), flat in zip(MODEL_TIERS, held, strict=True)
        ),
        open_tasks=open_tasks,
        overdue_tasks=sum(float(score) <= now_ms for score in deadlines[1::2]),
    )


def _number(measured: Mapping[str, str], name: str) -> float | None:
    return float(measured[name]) if name in measured else None


def _holders(flat: Sequence[Any], now_ms: int) -> Sequence[Holder]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    live = ((holder, int(float(expiry)) - now_ms) for holder, expiry in pairs if float(expiry) > now_ms)
    return [Holder(*_named(holder), lease_ms) for holder, lease_ms in live]


def _named(holder: str) -> tuple[str, int]:
    task_id, step, _epoch = holder.rsplit(":", 2)
    return task_id, int(step)
