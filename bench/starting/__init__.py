"""How long a function takes to start, from the package that is deployed, and how much it holds.

    ready        from the process's making to its first answer: `run.sh`, the web server, its worker
    first task   what a lane's first task takes longer than a later one: delivered at once, or to a warm lane
    memory       PSS of master and worker: when ready, when warm, after the first task

Beside each: a function that says hello, on the same libraries and the same web server. Run alone by
`python -m bench.starting`; the first time on a machine it makes the packages, which takes a minute or two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

from bench.figures import Figure, Goal
from bench.starting.first_tasks import FirstTasks, measure_first_tasks
from bench.starting.launching import bare_python, launched
from bench.starting.trees import BARE, PEER, WSGI, Startable, startables

ROUNDS = 2
TASK_ROUNDS = 1
LANE = "paid_stream"
SECTION = "starting"
READY_MS, READY_MB, SERVED_MB = 250, 60, 110
Progress = Callable[[str], None]


def measure(progress: Progress) -> list[Figure]:
    """Start everything in turn, several times; then a lane for its first tasks."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-starting-") as name:
        folder = Path(name)
        python = bare_python(folder / "python")
        all_of_them = startables(folder, progress)
        ready = _ready_ms(all_of_them, python, folder / "log", progress)
        tasks = []
        for number in range(TASK_ROUNDS):
            progress(f"first tasks: round {number + 1} of {TASK_ROUNDS}")
            tasks.append(measure_first_tasks(all_of_them[LANE], python, folder / "log"))
    return [*_ready_figures(ready), *_task_figures(tasks)]


def _ready_ms(
    wanted: Mapping[str, Startable], python: Path, log: Path, progress: Progress
) -> Mapping[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in wanted}
    for number in range(ROUNDS):
        progress(f"start to ready: round {number + 1} of {ROUNDS}, {len(wanted)} functions in turn")
        for name, each in wanted.items():
            with launched(each.tree, python, each.variables, log) as function:
                took[name].append(function.ready_ms)
    return took


def _ready_figures(ready: Mapping[str, list[float]]) -> Iterator[Figure]:
    for name in (name for name in ready if name not in BARE):
        row, bare = f"start to ready, {name}", tuple(ready[PEER.get(name, WSGI)])
        note = f"{median(ready[name]) / median(bare):.2f} × a hello on the same web server"
        goal = Goal(f"≤ {READY_MS}", at_most=READY_MS)
        yield Figure(SECTION, row, "sluice", "ms", tuple(ready[name]), goal, note)
        yield Figure(SECTION, row, "hello", "ms", bare)


def _task_figures(tasks: list[FirstTasks]) -> Iterator[Figure]:
    rows: tuple[tuple[str, str, Callable[[FirstTasks], float], int | None], ...] = (
        ("the first task, delivered at once, over a later one", "ms", lambda t: t.at_once_ms, None),
        ("the first task of a warm lane, over a later one", "ms", lambda t: t.warm_ms, None),
        ("memory when ready, before the first task", "MB", lambda t: t.ready_mb, READY_MB),
        ("memory when warm", "MB", lambda t: t.warm_mb, None),
        ("memory after the first task", "MB", lambda t: t.served_mb, SERVED_MB),
    )
    for name, unit, value, limit in rows:
        goal = None if limit is None else Goal(f"≤ {limit}", at_most=limit)
        yield Figure(SECTION, name, "sluice", unit, tuple(map(value, tasks)), goal)
