"""How long the collector of a lane under load holds everybody up: a real process, twenty streams at once."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.environment import ROOT
from bench.figures import Figure, Goal
from bench.lane.deliveries import LANE, LIMITS, ROUTE_URL, Deliverer
from devstack.environment import WITHOUT_FOLDER
from devstack.processes import FunctionProcess, free_ports
from devstack.qstash.signing import DEV_KEYS
from devstack.valkey import EmbeddedValkey
from shared.state.store import TcpStore

ROUNDS = 3
AT_ONCE = 20
TOKENS = 500
WARM_SECONDS = 60.0
STOP_SECONDS = 10.0
GOAL_MS = 10


def measure_pauses(
    valkey: EmbeddedValkey, provider_url: str, progress: Callable[[str], None]
) -> list[Figure]:
    """Run tasks in a lane, and return how long its collector took: at most, and in all."""
    rounds = []
    with listening_lane(valkey, f"{provider_url}/burst-{TOKENS}") as url:
        progress("collector: the lane warms up")
        _wait_until_warm(url)
        deliverer = Deliverer(TcpStore(valkey.url), url)
        deliverer.run_task()
        _pauses_ms(url)
        for number in range(ROUNDS):
            progress(f"collector: round {number + 1} of {ROUNDS}, {AT_ONCE} streams at once, twice")
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda _: deliverer.run_task(), range(2 * AT_ONCE)))
            rounds.append(_pauses_ms(url))
    longest = tuple(max(pauses, default=0.0) for pauses in rounds)
    goal = Goal(f"≤ {GOAL_MS}", at_most=GOAL_MS)
    note = f"{sum(map(len, rounds))} collections in {ROUNDS * 2 * AT_ONCE} tasks of {TOKENS} tokens"
    return [
        Figure("lane", "longest pause of the collector", "sluice", "ms", longest, goal, note),
        Figure("lane", "all pauses, per task", "sluice", "ms", tuple(sum(p) / 2 / AT_ONCE for p in rounds)),
    ]


@contextmanager
def listening_lane(valkey: EmbeddedValkey, base_url: str) -> Iterator[str]:
    """Yield the address of a lane that tells of its collector."""
    (port,) = free_ports(1)
    source = ROOT / "bench" / "lane" / "listening_lane.py"
    command = ["python3", "-m", "functions_framework", "--source", str(source), "--target", LANE]
    with tempfile.TemporaryDirectory(prefix="sluice-bench-lane-") as folder:
        process = FunctionProcess(
            LANE,
            bundle=ROOT,
            command=[*command, "--host", "127.0.0.1", "--port", str(port)],
            port=port,
            environment=lane_environment(valkey, base_url, Path(folder)),
            log_file=Path(folder) / "log",
        )
        process.start()
        try:
            process.wait_ready(time.monotonic() + WARM_SECONDS)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.request_stop()
            process.wait_stopped(time.monotonic() + STOP_SECONDS)


def lane_environment(valkey: EmbeddedValkey, base_url: str, home: Path) -> Mapping[str, str]:
    """Return what a lane is given for running tasks against the benchmark's provider."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(WITHOUT_FOLDER), str(ROOT)]),
        "SLUICE_ENV": "dev",
        "REDIS_URL": valkey.url,
        "QSTASH_CURRENT_SIGNING_KEY": DEV_KEYS.current,
        "QSTASH_NEXT_SIGNING_KEY": DEV_KEYS.next,
        "ROUTE_URL": ROUTE_URL,
        "DEEPSEEK_API_KEY": "bench",
        "DEEPSEEK_BASE_URL": base_url,
        "THREADS": "24",
        **LIMITS,
    }


def _wait_until_warm(url: str) -> None:
    deadline = time.monotonic() + WARM_SECONDS
    while not (state := _state(url))["warm"]:
        if time.monotonic() > deadline:
            raise RuntimeError("the lane does not get warm")
        time.sleep(0.05)
    if not (state["collecting"] and state["frozen"]):
        raise RuntimeError(f"the lane's collector was not settled: {state}")


def _pauses_ms(url: str) -> list[float]:
    return [pause_ms for pause_ms, _ in _state(url)["pauses"]]


def _state(url: str) -> Any:
    return httpx.get(f"{url}/bench/pauses", trust_env=False, timeout=WARM_SECONDS).json()
