"""The figures: at each size, windows of the bridge and of the relay in turn, with all readers connected."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.bridge.run import Load, Run, Window
from bench.bridge.subjects import start_bridge, start_relay
from bench.bridge.writer import create
from bench.figures import Figure, Goal
from devstack.valkey import EmbeddedValkey

LOADS = (Load(2_000), Load(5_000), Load(10_000))
SECTION = "bridge"
OPEN_MS = 3_600_000
WARM_UP_SECONDS = 1.0
P99_MS = {2_000: 4.0, 5_000: 8.0, 10_000: 15.0}
CORES = {2_000: 0.5}
KIB_A_CONNECTION = 20.0


def measure_load(
    load: Load, rounds: int, seconds: float, progress: Callable[[str], None], *, relay: bool = True
) -> list[Figure]:
    """Return the figures of one size, from interleaved windows of so many seconds."""
    with ExitStack() as stack:
        runs = open_runs(stack, load, progress, relay=relay)
        windows: list[list[Window]] = [[] for _ in runs]
        for number in range(rounds):
            for run, shown in zip(runs, windows, strict=True):
                progress(f"{load.connections:,} connections, {run.subject.name}, {number + 1} of {rounds}")
                shown.append(run.window(seconds))
    figures: list[Figure] = []
    for run, shown in zip(runs, windows, strict=True):
        figures += _figures(load, run, shown, has_goals=run is runs[0])
    return figures


def open_runs(
    stack: ExitStack, load: Load, progress: Callable[[str], None], *, relay: bool = True
) -> list[Run]:
    """Start the subjects, and let all their readers connect and each be written to for a moment."""
    valkey = stack.enter_context(EmbeddedValkey())
    create(valkey.port, load.channels, open_until_ms=time.time_ns() // 1_000_000 + OPEN_MS)
    subjects = [start_bridge(stack, valkey)]
    if relay:
        subjects.append(start_relay(stack, valkey))
    runs = []
    for subject in subjects:
        progress(f"{load.connections:,} connections to {subject.name}")
        run = stack.enter_context(Run(subject, valkey, load))
        run.window(WARM_UP_SECONDS)
        runs.append(run)
    return runs


def _figures(load: Load, run: Run, windows: Sequence[Window], *, has_goals: bool) -> list[Figure]:
    size = f"{load.connections:,} connections, {load.events_a_second:,} events/s"

    def figure(
        name: str, unit: str, values: Sequence[float], at_most: float | None = None, note: str = ""
    ) -> Figure:
        goal = Goal(f"≤ {at_most:g}", at_most=at_most) if has_goals and at_most is not None else None
        rounded = tuple(round(value, 3) for value in values)
        return Figure(SECTION, f"{size}: {name}", run.subject.name, unit, rounded, goal, note)

    return [
        figure("added latency p50", "ms", [each.p50_ms for each in windows]),
        figure(
            "added latency p99",
            "ms",
            [each.p99_ms for each in windows],
            P99_MS.get(load.connections),
            note="from before the writer's command to the reader's recv, all on the same cores",
        ),
        figure("events lost", "", [each.lost for each in windows], 0),
        figure("cores of the server", "cores", [each.cores for each in windows], CORES.get(load.connections)),
        figure("server's CPU an event", "µs", [each.us_an_event for each in windows]),
        figure(
            "cores of Redis, readers and writer",
            "cores",
            [each.redis_cores + each.readers_cores + each.writer_cores for each in windows],
            note="what the benchmark itself takes of the machine beside the server",
        ),
        figure("memory a connection", "KiB", [run.kib_a_connection], KIB_A_CONNECTION),
    ]
