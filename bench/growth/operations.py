"""What each step of a task's life costs at the size that a lane has. The batch that is timed ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from bench.growth.clocks import cost_of
from bench.growth.lanes import LaneOfTasks, Waiting
from shared.routing import Tier

BATCH = 48
PART = 6
_Item = TypeVar("_Item")
FLAT = (
    "admission",
    "claim",
    "renewal",
    "finish",
    "cancel",
    "status call",
    "sweep of one task",
    "list of overdue",
)


def costs_of_a_life(lane: LaneOfTasks) -> Mapping[str, float]:
    """Return what each operation of `FLAT` costs, µs of Redis's own time."""
    tasks = lane.tasks
    admitted: list[Waiting] = []
    costs = {"admission": _each(lane, lambda _: admitted.append(lane.admit()), range(BATCH))}
    costs["status call"] = _each(lane, lambda task: tasks.read(task.ref.task_id), admitted)
    costs["sweep of one task"] = _each(lane, lambda task: _sweep(lane, task), admitted)
    costs["list of overdue"] = _each(lane, lambda _: tasks.overdue(), admitted)
    attempts = []
    costs["claim"] = _each(lane, lambda task: attempts.append(lane.claim(task)), admitted)
    costs["renewal"] = _each(lane, tasks.renew, attempts)
    costs["finish"] = _each(lane, lane.finish, attempts)
    leaving = [lane.admit() for _ in range(BATCH)]
    costs["cancel"] = _each(lane, lambda task: tasks.cancel(task.ref), leaving)
    return costs


def _sweep(lane: LaneOfTasks, task: Waiting) -> str:
    return lane.tasks.sweep(task.ref, step=task.step, tier=Tier.PAID)


def _each(lane: LaneOfTasks, operation: Callable[[_Item], object], items: Iterable[_Item]) -> float:
    """Return what the operation costs, in the quietest part of the batch: others only add to it."""
    chosen = list(items)
    parts = [chosen[first : first + PART] for first in range(0, len(chosen), PART)]
    return min(_average(lane, operation, part) for part in parts)


def _average(lane: LaneOfTasks, operation: Callable[[_Item], object], items: Sequence[_Item]) -> float:
    def all_of_them() -> None:
        for item in items:
            operation(item)

    return cost_of(lane.store, all_of_them).script_us / len(items)
