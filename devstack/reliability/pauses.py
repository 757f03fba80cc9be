"""Lanes that are frozen and wake up late: while another attempt runs, or when its task has long ended.

A frozen worker has its connections, its slot's name and half a text. Woken, it writes nothing, closes its
call to the provider within one batch, and gives back nothing that is not its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from devstack.frontend import until
from devstack.processes import FunctionProcess
from devstack.proxy import Fault
from devstack.reliability.points import (
    ALL_BATCHES,
    BATCHES,
    CLAIMS,
    FINISHES,
    GIVEN_BACK,
    PICTURE_POINTS,
    Point,
    Points,
    at,
)
from devstack.reliability.scenes import REASONER, SLOTS, Scene, scene
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Trial
from devstack.reliability.waves import Struck, Wave
from devstack.stack import Stack
from shared.routing import Model, Tier
from shared.state import keys

LANE = "paid_stream"
GOES_ON_SECONDS = 10.0
"""How long a woken instance may take to come to the end of all it was at."""


def while_replaced(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Freeze at every write, with as many tasks as there are slots; wake when others hold all of these."""
    stopped = [(point,) for point in (*CLAIMS, *ALL_BATCHES, FINISHES[0])]
    with scene(stack, tally, effort) as here:
        here.until_met(stopped, _wave_while_replaced)


def _wave_while_replaced(here: Scene, points: Sequence[Points]) -> list[Points]:
    stack, tally = here.stack, here.tally
    points = [*points, *[(Point(),)] * (SLOTS - len(points))]
    wave = Wave(here, LANE)
    wave.start(points, endless=True)
    wave.wait_held()
    at_work = [task for task in wave.tasks if task.points[0].on in {"XADD", ""} and task.is_held()]
    wave.speak()
    gates = [_gate(wave, task) for task in wave.tasks]
    frozen = wave.freeze(LANE)
    writes = [_writes_of_first(wave, task) for task in wave.tasks]
    until(lambda: all(gate.hits for gate in gates) or None, "successors in all the slots")
    holders = _holders(stack)
    wave.release()
    frozen.thaw()
    for task in at_work:
        until(partial(stack.llm.closed_at, task.ref), f"the frozen call to be closed: {task.points}")
    tally.problems += _gone(stack, holders)
    for gate in gates:
        wave.proxy.release(gate)
    missed = wave.judge()
    tally.problems += [*_too_late(wave, writes), *_mixed(wave)]
    frozen.kill()
    return missed


def _gate(wave: Wave, task: Struck) -> Fault:
    """Keep the attempt that takes over from finishing, so that its slot is surely taken."""
    return wave.proxy.hold("finish_task", about=f"{task.task_id}:0:")


def _writes_of_first(wave: Wave, task: Struck) -> Fault | None:
    """Count what the frozen attempt still writes, if there is one: its successor is another then."""
    if not task.points[0].is_repeated:
        return None
    return wave.proxy.count("XADD", about=f'{task.task_id} "attempt":1,')


def _holders(stack: Stack) -> set[str]:
    with contextlib.closing(stack.open_store()) as store:
        return set(store.command("ZRANGE", keys.slots(Model(REASONER), Tier.PAID), 0, -1))


def _gone(stack: Stack, before: set[str]) -> Iterator[Problem]:
    """Yield whoever has lost its slot though its task still runs."""
    for holder in before - _holders(stack):
        with contextlib.closing(stack.open_store()) as store:
            state, theirs = store.command("HMGET", keys.task(holder.partition(":")[0]), "state", "holder")
        if state == "running" and theirs == holder:
            yield Problem("lost", f"the slot of {holder} was given back by somebody else")


def _too_late(wave: Wave, writes: Sequence[Fault | None]) -> Iterator[Problem]:
    for task, count in zip(wave.tasks, writes, strict=True):
        if count is not None and count.seen > 1:
            yield Problem("doubled", f"{task.points}: woken, it sent {count.seen} batches before it stopped")


def _mixed(wave: Wave) -> Iterator[Problem]:
    """Yield every event that another than the newest attempt has stored."""
    for task in wave.tasks:
        epoch, attempt = "", 0
        for id_, event in wave.entries(task):
            if event["type"] == "start":
                epoch, attempt = id_.partition("-")[0], event["attempt"]
            elif event["type"] == "token_batch" and (id_.partition("-")[0], event["attempt"]) != (
                epoch,
                attempt,
            ):
                yield Problem("doubled", f"{task.points}: {id_} {event} within attempt {attempt}")


def after_the_end(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Freeze at claims, writes and ends; wake when every task has ended: nothing changes any more."""
    points = (*CLAIMS, *at("XADD", nths=(1, BATCHES // 2, BATCHES)), *GIVEN_BACK, *FINISHES)
    with scene(stack, tally, effort) as here:
        here.until_met([(point,) for point in points], _wave_after_the_end)


def _wave_after_the_end(here: Scene, points: Sequence[Points]) -> list[Points]:
    wave = Wave(here, LANE)
    wave.start(points)
    wave.wait_held()
    return _judge_woken(wave, [wave.freeze(LANE)])


def pictures(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Freeze both lanes of tasks that have two steps; wake when every task has ended."""
    with scene(stack, tally, effort) as here:
        here.until_met(PICTURE_POINTS, _wave_of_pictures)


def _wave_of_pictures(here: Scene, points: Sequence[Points]) -> list[Points]:
    wave = Wave(here, "paid_vision", LANE)
    wave.start_pictures(points)
    wave.wait_held(0)
    first = wave.freeze("paid_vision")
    wave.begin_second_step()
    wave.wait_held(1)
    return _judge_woken(wave, [first, wave.freeze(LANE)])


def _judge_woken(wave: Wave, frozen: Sequence[FunctionProcess]) -> list[Points]:
    """Wake whoever is frozen when all tasks have ended, let it come to its own end, and judge."""
    for task in wave.tasks:
        wave.owner.outcome(task.accepted)
    before = _everything(wave)
    wave.release()
    for each in frozen:
        each.thaw()
        each.request_stop()
        each.wait_stopped(time.monotonic() + GOES_ON_SECONDS)
    if _everything(wave) != before:
        wave.scene.tally.problems.append(
            Problem("doubled", "a worker that woke up late has changed something")
        )
    missed = wave.judge()
    wave.scene.tally.problems += _mixed(wave)
    return missed


def _everything(wave: Wave) -> list[Any]:
    """Return all that is stored of the tasks and of their owner's money."""
    with contextlib.closing(wave.stack.open_store()) as store:
        hashes = [keys.task(task.task_id) for task in wave.tasks]
        hashes += [keys.service(task.accepted["serviceId"]) for task in wave.tasks]
        fields = [store.command("HGETALL", key) for key in hashes]
        ledger = store.command("LRANGE", keys.ledger(wave.owner.user), 0, -1)
    records = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in fields]
    return [*records, ledger, *map(wave.entries, wave.tasks)]


PAUSES = (
    Trial("SIGSTOP of the lane at every write, woken while its successors hold all slots", while_replaced),
    Trial("SIGSTOP of the lane at claims, writes and ends, woken after the end", after_the_end),
    Trial("SIGSTOP of the lane at both steps of a task with a picture", pictures),
)
