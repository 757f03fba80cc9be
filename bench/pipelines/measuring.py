"""The order of the measuring: everything is started once, then every subject in turn, round after round."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from bench.environment import python_of_peers
from bench.figures import Figure
from bench.node_peers import node_peers
from bench.pipelines import figures as f
from bench.pipelines.breakdown import Monitor
from bench.pipelines.collecting import (
    keep_alone,
    keep_breakdown,
    keep_full_speed,
    keep_loss,
    keep_memory,
    keep_paced,
)
from bench.pipelines.counters import commands_of
from bench.pipelines.kills import kill_all
from bench.pipelines.load import (
    ALONE,
    AT_ONCE,
    FULL_SPEED,
    FULL_SPEED_FEWER,
    PACED,
    PACED_SHORT,
    Load,
    run,
)
from bench.pipelines.subjects import PEERS, Sluice, Subject, direct, node_peer, peer, provider, sluice

Progress = Callable[[str], None]
IDLE_SECONDS = 6.0
_UNMERGED = {"stream_flush_interval_ms": 0.0, "lease_seconds": 3.0}
"""Its lease is short: it is also the Sluice whose worker is killed, and the lease has to lapse."""
_WARMING = Load(ALONE.pace, answers=AT_ONCE, at_once=AT_ONCE)


@dataclass(frozen=True, slots=True)
class World:
    """What runs while it is measured."""

    provider_url: str
    own: Sluice
    subjects: Sequence[Subject]
    """All that are measured in turn, `own` among them."""


def measure_pipelines(progress: Progress, rounds: int) -> list[Figure]:
    """Start all subjects, measure, end them all; returns the figures.

    Raises:
        Failed: a subject did not start, or an answer did not come whole.
        EnvironmentFailed: the peers could not be installed.
    """
    collection = f.Collection()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _world(Path(folder), progress) as world:
        uvloop.run(_measure(world, rounds, collection, progress))
    return collection.figures()


@contextmanager
def _world(folder: Path, progress: Progress) -> Iterator[World]:
    python, node_folder = python_of_peers(progress), node_peers(progress)
    with ExitStack() as open_:
        url = open_.enter_context(provider(sys.executable, folder))
        models = f"{url}/v1"
        progress("starting all subjects")
        own = open_.enter_context(sluice(f.OWN, sys.executable, url, folder))
        unmerged = open_.enter_context(sluice(f.UNMERGED, sys.executable, url, folder, **_UNMERGED))
        peers = [open_.enter_context(peer(name, python, models, folder)) for name in PEERS]
        if node_folder is not None:
            peers.append(open_.enter_context(node_peer(node_folder, models, folder)))
        limit = open_.enter_context(direct(python, models, folder))
        subjects: Sequence[Subject] = (own, unmerged, limit, *peers)
        for subject in subjects:
            progress(f"waiting for {subject.name}")
            subject.wait_ready()
        yield World(url, own, subjects)
        progress("ending all subjects")
        for each in peers:
            each.end()


async def _measure(world: World, rounds: int, collection: f.Collection, progress: Progress) -> None:
    for subject in world.subjects:
        progress(f"warming {subject.name}")
        await run(subject, world.provider_url, _WARMING)
    progress("everything at rest")
    await _rest(world, collection)
    for number in range(rounds):
        turn = [*world.subjects[number:], *world.subjects[:number]]
        show = partial(_show, progress, f"round {number + 1} of {rounds}")
        await _round(turn, world.provider_url, collection, show, is_first=number == 0)
        show("where the time goes", world.own.name)
        await _break_down(world, collection)
    await _kill(world, collection, progress)


def _show(progress: Progress, number: str, kind: str, name: str) -> None:
    progress(f"{number}, {kind}: {name}")


async def _round(
    turn: Sequence[Subject],
    url: str,
    collection: f.Collection,
    show: Callable[[str, str], None],
    *,
    is_first: bool,
) -> None:
    """Give every subject each kind of work, one subject after the other."""
    with_defaults = [subject for subject in turn if subject.name != f.UNMERGED]
    for subject in with_defaults:
        show("one at a time", subject.name)
        keep_alone(collection, subject.name, await run(subject, url, ALONE))
    for subject in turn:
        show("20 at once", subject.name)
        whole = is_first and subject.name in f.COSTED
        made = await run(subject, url, PACED if whole else PACED_SHORT)
        keep_paced(collection, subject.name, made, whole=whole)
    for subject in with_defaults:
        if is_first or subject.name not in f.SLOW:
            show("full speed", subject.name)
            load = FULL_SPEED_FEWER if subject.name in f.SLOW else FULL_SPEED
            made, has_redis = await run(subject, url, load), subject.redis_url is not None
            keep_full_speed(collection, subject.name, made, has_redis=has_redis)


async def _rest(world: World, collection: f.Collection) -> None:
    """Count what is done while nothing is to be done; all at once, since each has a Redis of its own."""
    with_redis = [(subject, url) for subject in world.subjects if (url := subject.redis_url)]
    before, started = [commands_of(url) for _, url in with_redis], time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    minutes = (time.monotonic() - started) / 60
    for (subject, url), count in zip(with_redis, before, strict=True):
        collection.add(f.AT_REST, f.IDLE, "a minute", subject.name, (commands_of(url) - count) / minutes)
    for subject in world.subjects:
        keep_memory(collection, subject)


async def _break_down(world: World, collection: f.Collection) -> None:
    with Monitor(world.own.redis_url) as monitor:
        made = await run(world.own, world.provider_url, ALONE)
    keep_breakdown(collection, made, monitor.writes(), world.own.journal())


async def _kill(world: World, collection: f.Collection, progress: Progress) -> None:
    progress("killing every worker in mid-answer")
    killed = [subject for subject in world.subjects if subject.name in f.KILLED_SUBJECTS]
    for name, loss in (await kill_all(killed, world.provider_url)).items():
        keep_loss(collection, name, loss)
