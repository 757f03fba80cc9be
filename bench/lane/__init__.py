"""The lane: what a streamed token costs its processor, and how long its collector holds everybody up.

    CPU per token     sluice, lcel, sdk and raw (readings.py) read the same answer in turn, in one process
    collector         a lane's real process, twenty tasks of 500 tokens at once, its collector listened to

Of a long and a short answer the difference tells a token, so that what a call costs once is a row of its own.
On processors that others use, too, each figure grows; `raw` beside it tells by how much.
Run alone by `python -m bench.lane`.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.environment import ROOT
from bench.figures import Figure, Goal
from bench.lane.collecting import measure_pauses
from bench.lane.readings import Reading, readings
from devstack.valkey import EmbeddedValkey
from shared.state.store import TcpStore
from shared.warming import settle

ROUNDS = 5
SHORT, LONG = 40, 1_000
"""Tokens; an answer shorter than that is none."""
SECTION = "lane"
GOAL_US = 40


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round of a way to read took of the processor."""

    call_ms: float
    token_us: float


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Measure processor time by token, then the collector's pauses."""
    with provider() as base_url, EmbeddedValkey() as valkey:
        costs = _costs(readings(TcpStore(valkey.url)), base_url, progress)
        pauses = measure_pauses(valkey, base_url, progress)
    return [*_figures(costs), *pauses]


@contextmanager
def provider() -> Iterator[str]:
    """Yield the base URL of the benchmark's provider, without the part that says what comes."""
    command = [sys.executable, "-m", "bench.lane.provider"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            assert process.stdin
            process.stdin.close()


def _costs(
    ways: Mapping[str, Reading], base_url: str, progress: Callable[[str], None]
) -> Mapping[str, list[Cost]]:
    lengths = {way(f"{base_url}/burst-{LONG}") for way in ways.values()}
    if len(lengths) != 1:
        raise RuntimeError(f"not all read the whole answer: {lengths} characters")
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    gc.collect()
    settle()  # for all of them, as in a lane
    for number in range(ROUNDS):
        progress(f"CPU per token: round {number + 1} of {ROUNDS}")
        for name, way in ways.items():
            costs[name].append(_cost(way, base_url))
    return costs


def _cost(way: Reading, base_url: str) -> Cost:
    short, long = (_cpu_seconds(way, f"{base_url}/burst-{tokens}") for tokens in (SHORT, LONG))
    token = (long - short) / (LONG - SHORT)
    return Cost((short - SHORT * token) * 1e3, token * 1e6)


def _cpu_seconds(way: Reading, url: str) -> float:
    before = time.process_time()  # of all threads: the writer's, too
    way(url)
    return time.process_time() - before


def _figures(costs: Mapping[str, list[Cost]]) -> Iterator[Figure]:
    for name, each in costs.items():
        goal = Goal(f"≤ {GOAL_US}", at_most=GOAL_US) if name == "sluice" else None
        yield Figure(
            SECTION, "CPU per streamed token", name, "µs", tuple(cost.token_us for cost in each), goal
        )
    for name, each in costs.items():
        yield Figure(SECTION, "CPU per call, once", name, "ms", tuple(cost.call_ms for cost in each))
