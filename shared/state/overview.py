"""What is queued, what runs and what is open at this moment, for whoever looks after it. Changes nothing.

A slot counts while its lease has not lapsed on Redis's clock, as `claim_task` counts it. Limits are those in
force: as an operator has set them, or else as configured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.config import ConcurrencyConfig
from shared.routing import ROUTES, Lane, Model, Tier
from shared.state import keys
from shared.state.controls import Control, pair_name, parse_controls
from shared.state.keys import TaskRef
from shared.state.store import Store, clock_ms

MODEL_TIERS: Sequence[tuple[Model, Tier]] = tuple(
    sorted({(route.model, tier) for (_, tier), route in ROUTES.items()})
)


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane's queue."""

    lane: Lane
    places_used: int
    places: int
    """In force."""
    oldest_ms: int | None
    """How long its oldest step has been in the queue, waiting and running; None when it is empty."""
    interval_ms: float | None
    """Mean time between two ends of steps, None before the second."""
    places_set: Control | None = None
    """What an operator has set over the configured limit."""
    configured_places: int | None = None
    """The limit under `places_set`; None when nothing is set over it."""
    stopped: Control | None = None
    """Since when no attempt begins in it, and why; None when it works."""


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
    """In force."""
    holders: tuple[Holder, ...]
    slots_set: Control | None = None
    """What an operator has set over the configured limit."""
    configured_slots: int | None = None
    """The limit under `slots_set`; None when nothing is set over it."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment, of Redis's clock."""

    at_ms: int
    lanes: tuple[LaneView, ...]
    slots: tuple[SlotView, ...]
    open_tasks: int
    overdue_tasks: int
    """Open beyond their deadline: the next touch or sweep looks after them."""
    draining: Control | None = None
    """Since when nothing new is admitted, and why; None when it is."""


def read_overview(store: Store, limits: ConcurrencyConfig) -> Overview:
    """Read all of it, in one round trip.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    commands: list[tuple[str | int, ...]] = [("TIME",), ("HGETALL", keys.QUEUE_RATES)]
    commands += [("ZRANGE", keys.OPEN_TASKS, 0, -1, "WITHSCORES")]
    commands += [("ZCARD", keys.queue(lane)) for lane in Lane]
    commands += [("ZRANGE", keys.queue(lane), 0, 0, "WITHSCORES") for lane in Lane]
    commands += [("ZRANGE", keys.slots(*pair), 0, -1, "WITHSCORES") for pair in MODEL_TIERS]
    time, rates, deadlines, *rest = store.pipeline(commands)
    now_ms = clock_ms(time)
    counts, oldest, held = rest[: len(Lane)], rest[len(Lane) : 2 * len(Lane)], rest[2 * len(Lane) :]
    measured = dict(zip(rates[::2], rates[1::2], strict=True))
    controls = parse_controls(measured.get(keys.CONTROLS_FIELD), now_ms)
    return Overview(
        at_ms=now_ms,
        lanes=tuple(
            LaneView(
                lane=lane,
                places_used=count,
                places=controls.places_limit(limits, lane),
                oldest_ms=max(0, now_ms - int(float(first[1]))) if first else None,
                interval_ms=_number(measured, f"{lane}:ms"),
                places_set=controls.places.get(lane),
                configured_places=limits.places(lane) if lane in controls.places else None,
                stopped=controls.stopped.get(lane),
            )
            for lane, count, first in zip(Lane, counts, oldest, strict=True)
        ),
        slots=tuple(
            SlotView(
                model=model,
                tier=tier,
                slots=controls.slots_limit(limits, model, tier),
                holders=tuple(_holders(flat, now_ms)),
                slots_set=(set_ := controls.slots.get(pair_name(model, tier))),
                configured_slots=limits.slots(model, tier) if set_ else None,
            )
            for (model, tier), flat in zip(MODEL_TIERS, held, strict=True)
        ),
        open_tasks=len(deadlines) // 2,
        overdue_tasks=sum(float(score) <= now_ms for score in deadlines[1::2]),
        draining=controls.draining,
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


_RECORD = (
    "userId",
    "serviceId",
    "action",
    "state",
    "step",
    "steps",
    "tier",
    "attempt",
    "holder",
    "createdAt",
)
_RECORDS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task that has not ended, as its record has it."""

    ref: TaskRef
    action: str
    tier: Tier
    state: str
    step: int
    steps: int
    lane: Lane
    model: Model
    attempt: int
    holder: str
    """Whose slot it runs on; empty while it waits."""
    created_at_ms: int
    deadline_ms: int


def open_tasks(store: Store, at_most: int | None = None) -> Iterator[OpenTask]:
    """Yield the open tasks, the nearest deadline first; one that ends meanwhile may or may not be there."""
    last = -1 if at_most is None else at_most - 1
    flat = store.command("ZRANGE", keys.OPEN_TASKS, 0, last, "WITHSCORES") if at_most != 0 else []
    deadlines = list(zip(flat[::2], flat[1::2], strict=True))
    for start in range(0, len(deadlines), _RECORDS_AT_ONCE):
        part = deadlines[start : start + _RECORDS_AT_ONCE]
        records = store.pipeline([("HMGET", keys.task(task_id), *_RECORD) for task_id, _ in part])
        for (task_id, deadline), values in zip(part, records, strict=True):
            record = dict(zip(_RECORD, values, strict=True))
            if record["steps"]:  # one that ended and was deleted in between has none
                yield _open_task(task_id, record, int(float(deadline)))


def _open_task(task_id: str, record: Mapping[str, str], deadline_ms: int) -> OpenTask:
    steps, step = json.loads(record["steps"]), int(record["step"])
    return OpenTask(
        ref=TaskRef(task_id, record["serviceId"], record["userId"]),
        action=record["action"],
        tier=Tier(record["tier"]),
        state=record["state"],
        step=step,
        steps=len(steps),
        lane=Lane(steps[step]["queueId"]),
        model=Model(steps[step]["modelId"]),
        attempt=int(record["attempt"]),
        holder=record["holder"] or "",
        created_at_ms=int(record["createdAt"]),
        deadline_ms=deadline_ms,
    )
