"""The order of the measuring: everything is started once, then every subject in turn, round after round."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.bridge.usage import resident_kib
from bench.environment import python_of_peers
from bench.figures import Figure
from bench.pipelines import figures as f
from bench.pipelines.breakdown import STRETCHES, Monitor, added, stretches_ms
from bench.pipelines.counters import commands_of
from bench.pipelines.kills import ANSWERS, PATIENCE_SECONDS, kill_all
from bench.pipelines.load import ALONE, AT_ONCE, FULL_SPEED, PACED, Load, Run, run
from bench.pipelines.subjects import PEERS, Sluice, Subject, direct, peer, provider, sluice

Progress = Callable[[str], None]
IDLE_SECONDS = 12.0
KILL_LEASE_SECONDS = 3.0
_WARMING = Load(ALONE, answers=AT_ONCE, at_once=AT_ONCE)
_ALONE = Load(ALONE, answers=30)
_PACED = Load(PACED, answers=AT_ONCE, at_once=AT_ONCE)
_FULL_SPEED = Load(FULL_SPEED, answers=30, at_once=AT_ONCE)
_BREAKDOWN = Load(ALONE, answers=20)
_NAMES_OF_STRETCHES = [name for name in STRETCHES if not name.startswith("(")]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int = 2
    alone: Load = _ALONE
    paced: Load = _PACED
    full_speed: Load = _FULL_SPEED
    breakdown: Load = _BREAKDOWN


@dataclass(frozen=True, slots=True)
class World:
    """What runs while it is measured."""

    provider_url: str
    own: Sluice
    subjects: Sequence[Subject]
    """All that are measured in turn, `own` among them."""


def measure_pipelines(progress: Progress, plan: Plan) -> list[Figure]:
    """Start all subjects, measure, end them all; returns the figures.

    Raises:
        Failed: a subject did not start, or an answer did not come whole.
        EnvironmentFailed: the peers could not be installed.
    """
    collection = f.Collection()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _world(Path(folder), progress) as world:
        uvloop.run(_measure(world, plan, collection, progress))
        with _disposable(world, Path(folder), progress) as subjects:
            uvloop.run(_kill(world, subjects, collection, progress))
    return collection.figures()


@contextmanager
def _world(folder: Path, progress: Progress) -> Iterator[World]:
    python = python_of_peers(progress)
    with ExitStack() as open_:
        url = open_.enter_context(provider(sys.executable, folder))
        models = f"{url}/v1"
        progress("starting Sluice")
        own = open_.enter_context(sluice(f.OWN, sys.executable, url, folder))
        unmerged = open_.enter_context(
            sluice(f.UNMERGED, sys.executable, url, folder, stream_flush_interval_ms=0)
        )
        progress("starting the peers")
        peers = [open_.enter_context(peer(name, python, models, folder)) for name in PEERS]
        limit = open_.enter_context(direct(python, models, folder))
        yield World(url, own, (own, unmerged, limit, *peers))


@contextmanager
def _disposable(world: World, folder: Path, progress: Progress) -> Iterator[Sequence[Subject]]:
    """Run one more Sluice, whose lease is short enough to see it lapse; the peers stay."""
    progress("starting a Sluice to kill")
    peers = [subject for subject in world.subjects if subject.name in PEERS]
    with sluice(
        "killed", sys.executable, world.provider_url, folder, lease_seconds=KILL_LEASE_SECONDS
    ) as own:
        own.name = f.OWN
        yield (own, *peers)


async def _measure(world: World, plan: Plan, collection: f.Collection, progress: Progress) -> None:
    for subject in world.subjects:
        progress(f"warming {subject.name}")
        await run(subject, world.provider_url, _WARMING)
    progress("everything at rest")
    await _rest(world, collection)
    for number in range(plan.rounds):
        turn = [*world.subjects[number:], *world.subjects[:number]]
        for kind, load in (
            ("one at a time", plan.alone),
            ("20 at once", plan.paced),
            ("full speed", plan.full_speed),
        ):
            for subject in turn:
                progress(f"round {number + 1} of {plan.rounds}, {kind}: {subject.name}")
                _keep(collection, load, subject.name, await run(subject, world.provider_url, load))
        progress(f"round {number + 1} of {plan.rounds}, break-down")
        await _break_down(world, plan, collection)


async def _rest(world: World, collection: f.Collection) -> None:
    """Count what is done while nothing is to be done; all at once, since each has a Redis of its own."""
    with_redis = [(subject, url) for subject in world.subjects if (url := subject.redis_url)]
    before, started = [commands_of(url) for _, url in with_redis], time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    minutes = (time.monotonic() - started) / 60
    for (subject, url), count in zip(with_redis, before, strict=True):
        collection.add(f.AT_REST, f.IDLE, "a minute", subject.name, (commands_of(url) - count) / minutes)
    for subject in world.subjects:
        mib = resident_kib(subject.worker_pid) / 1024
        collection.add(f.AT_REST, "memory of the worker, after its first tasks", "MiB", subject.name, mib)


def _keep(collection: f.Collection, load: Load, name: str, made: Run) -> None:
    if load.pace is ALONE:
        collection.add(f.ALONE, f.FIRST_P50, "ms", name, made.first_ms(0.5))
        collection.add(f.ALONE, f.FIRST_P99, "ms", name, made.first_ms(0.99))
        return
    if load.pace is FULL_SPEED:
        collection.add(f.FULL_SPEED, f.SPEED, "answers/s", name, made.answers_per_second)
        cpu = made.worker_cpu_ms_per_1000_tokens
        collection.add(f.FULL_SPEED, "worker CPU per 1,000 tokens", "ms", name, cpu)
        return
    collection.add(f.PACED, f.FIRST_P50, "ms", name, made.first_ms(0.5))
    collection.add(f.PACED, f.FIRST_P99, "ms", name, made.first_ms(0.99))
    collection.add(f.PACED, f.TOKEN_P50, "ms", name, made.token_ms(0.5))
    collection.add(f.PACED, f.TOKEN_P99, "ms", name, made.token_ms(0.99))
    collection.add(f.PACED, "Redis commands per answer", "commands", name, made.commands_per_answer)
    cpu = made.worker_cpu_ms_per_1000_tokens
    collection.add(f.PACED, "worker CPU per 1,000 tokens", "ms", name, cpu)


async def _break_down(world: World, plan: Plan, collection: f.Collection) -> None:
    with Monitor(world.own.redis_url) as monitor:
        made = await run(world.own, world.provider_url, plan.breakdown)
    writes, journal = monitor.writes(), world.own.journal()
    each = [
        stretches_ms(task_id, reading, writes, journal)
        for task_id, reading in zip(made.task_ids, made.readings, strict=True)
    ]
    means = [sum(values) / len(values) for values in zip(*each, strict=True)]
    for name, value in zip(STRETCHES, means, strict=True):
        if name in _NAMES_OF_STRETCHES:
            collection.add(f.BREAKDOWN, name, "ms, mean", f.OWN, value)
    collection.add(f.BREAKDOWN, "all of it", "ms, mean", f.OWN, added(means))


async def _kill(
    world: World, subjects: Sequence[Subject], collection: f.Collection, progress: Progress
) -> None:
    for subject in subjects:
        await run(subject, world.provider_url, Load(ALONE, answers=2))
    progress("killing every worker in mid-answer")
    for name, loss in (await kill_all(subjects, world.provider_url)).items():
        note = (
            f"{loss.whole} of {ANSWERS} readers had the whole text once; {loss.waiting} were never told of an"
            f" end in {PATIENCE_SECONDS:.0f} s."
        )
        collection.add(f.KILLED, f.LOST, "%", name, loss.lost_percent, note)
        collection.add(f.KILLED, f.DOUBLED, "%", name, loss.doubled_percent)
        collection.add(f.KILLED, "readers left waiting", f"of {ANSWERS}", name, loss.waiting)
