"""What the first task of a lane pays that the second does not, and what the lane holds by then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.lane import provider
from bench.lane.collecting import lane_environment
from bench.lane.deliveries import Deliverer
from bench.starting.launching import launched
from bench.starting.memory import held_mb
from bench.starting.trees import Startable
from devstack.valkey import EmbeddedValkey
from shared.state.store import TcpStore

TOKENS = 60
QUIET_MB = 0.5
SETTLED_LOOKS = 6
LOOK_SECONDS = 0.25
WARM_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FirstTasks:
    """One lane from its start to its second task."""

    at_once_ms: float
    """A task that is delivered the moment the lane is ready, over what a later one takes."""
    warm_ms: float
    """The first task of a lane that has been warm, over what a later one takes."""
    ready_mb: float
    warm_mb: float
    served_mb: float


def measure_first_tasks(lane: Startable, python: Path, log: Path) -> FirstTasks:
    """Start a lane twice: for a task at once, and for one that comes when it is warm."""
    with provider() as provider_url, EmbeddedValkey() as valkey:
        home = lane_environment(valkey, f"{provider_url}/burst-{TOKENS}", log.parent)
        variables = {name: text for name, text in home.items() if name not in {"PATH", "HOME", "PYTHONPATH"}}
        store = TcpStore(valkey.url)
        with launched(lane.tree, python, variables, log) as function:
            deliverer = Deliverer(store, f"http://127.0.0.1:{function.port}")
            at_once_ms = _first_over_next_ms(deliverer)
        with launched(lane.tree, python, variables, log) as function:
            ready_mb = held_mb(function.pid)
            deliverer = Deliverer(store, f"http://127.0.0.1:{function.port}")
            warm_mb = _wait_until_quiet(lambda: held_mb(function.pid))
            warm_ms = _first_over_next_ms(deliverer)
            return FirstTasks(at_once_ms, warm_ms, ready_mb, warm_mb, held_mb(function.pid))


def _first_over_next_ms(deliverer: Deliverer) -> float:
    first = deliverer.run_task()
    return (first - min(deliverer.run_task() for _ in range(3))) * 1000


def _wait_until_quiet(look: Callable[[], float]) -> float:
    """Return the memory once it does not grow any more."""
    deadline, last, same = time.monotonic() + WARM_SECONDS, look(), 0
    while same < SETTLED_LOOKS and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        now = look()
        same = same + 1 if abs(now - last) < QUIET_MB else 0
        last = now
    return last
