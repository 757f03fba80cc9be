"""A task's states, and what the transitions take and give.

    queued ─▶ running ─▶ done | failed | cancelled     and back to queued, to retry or for the next step

Values only; `tasks.py` has the transitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.config import TimeSettings
from shared.routing import ROUTES, Lane, Model, Plan, Template, Tier
from shared.state.keys import TaskRef


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in {State.DONE, State.FAILED, State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Step:
    """One step as its record keeps it: decided once, at admission."""

    template: Template
    lane: Lane
    model: Model
    max_wait_ms: int

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Step:
        return cls(
            Template(data["templateId"]),
            Lane(data["queueId"]),
            Model(data["modelId"]),
            int(data["maxWaitMs"]),
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """What `admit` needs to know of a new task. `fields` are what a new service's record starts with."""

    ref: TaskRef
    plan: Plan
    locale: str
    input: Mapping[str, Any]
    initial_quota: int
    idempotency_key: str | None = None
    fingerprint: str | None = None
    service_fields: Mapping[str, str] | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """What `admit` answered: `accepted`, `replay`, `mismatch`, `draining`, `user_busy` or `queue_full`."""

    status: str
    task_id: str | None = None
    tier: Tier | None = None
    steps_json: str = "[]"
    queue_id: str | None = None
    retry_after_seconds: int | None = None
    slots: int | None = None
    """Of its first step's model, when an operator has set them."""
    overdue: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A running attempt: what proves that a write is its own."""

    ref: TaskRef
    step: int
    number: int
    epoch: str
    holder: str
    model: Model
    tier: Tier
    lane: Lane
    locale: str
    created_at_ms: int
    input: Mapping[str, Any] = field(repr=False)
    is_last_step: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """What `claim` answered; `attempt` is set when the status is `claimed`."""

    status: str
    retry_after_seconds: int | None = None
    attempt: Attempt | None = None
    waited_ms: int = 0
    """How long the step has waited in all for this attempt and those before it."""
    took_over: bool = False
    """Whether the attempt before died with its lease."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """What a message that QStash gave up on leads to."""

    status: str
    n: int = 0
    delay_seconds: float = 0.0
    slots: int | None = None
    code: str = ""
    """Why the task failed, where it did."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished attempt leaves: its event, its result, and what is kept of it beyond the task."""

    event: str
    result: Mapping[str, Any] = field(repr=False)
    usage: Mapping[str, Any]
    keep_key: str | None = None
    keep_field: str = ""
    keep: Mapping[str, str] = field(default_factory=dict, repr=False)


def plan_steps(plan: Plan, tier: Tier, time: TimeSettings) -> tuple[Step, ...]:
    """Return the steps that `plan` takes for `tier`, by the routing table."""
    return tuple(
        Step(
            template,
            ROUTES[template, tier].lane,
            ROUTES[template, tier].model,
            round(time.max_wait_seconds(streams=template.streams) * 1000),
        )
        for template in plan.steps
    )
