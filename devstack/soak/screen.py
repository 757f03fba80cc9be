"""What a soak shows while it runs: a live picture on a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from devstack.soak.run import Phase, Progress
from shared.routing import Lane, models_of

LINE_SECONDS = 5.0
LAST_FAULTS = 6
_STYLES = {"done": "green", "error": "red", "cancelled": "yellow", "open": "cyan", "unread": "dim"}


class Screen(Protocol):
    """Shows the progress while its context is open."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen_on(console: Console) -> Callable[[Progress], Screen]:
    """Return what makes the screen that suits where the output goes."""
    return lambda progress: (
        LiveScreen(console, progress) if console.is_terminal else PlainScreen(console, progress)
    )


class PlainScreen:
    """A line now and then."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(LINE_SECONDS):
            progress = self._progress
            tasks = ", ".join(f"{count} {state}" for state, count in progress.book.states().items())
            faults = sum(progress.injector.counts.values())
            line = (
                f"{elapsed(progress):6.1f} s  {progress.phase}: {tasks or 'no task'}; "
                f"{progress.watch.seen.open_tasks} open in Redis; {in_flight(progress)} calls; "
                f"{faults} faults; {memory(progress):.0f} MiB"
            )
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """The picture: time left, tasks by state, the lanes, the faults so far and the latest of them."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._progress = progress
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _picture(self) -> RenderableType:
        return Group(self._heading(), self._tasks(), self._lanes(), self._faults(), self._latest())

    def _heading(self) -> RenderableType:
        progress = self._progress
        left = max(0.0, progress.plan.seconds - elapsed(progress))
        table = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=progress.plan.seconds, completed=progress.plan.seconds - left, width=30)
        words = f"{left / 60:.1f} min left" if progress.phase is Phase.TRAFFIC else progress.phase
        table.add_row(
            Text(f"soak, seed {progress.plan.seed}", "bold"), bar, words, f"{memory(progress):.0f} MiB"
        )
        return table

    def _tasks(self) -> Text:
        states = self._progress.book.states()
        parts = [(f"{count} {state}   ", _STYLES.get(state, "")) for state, count in states.items()]
        requests = sum(self._progress.book.requests.values())
        tail = f"{requests} requests, {in_flight(self._progress)} model calls, "
        return Text.assemble("tasks  ", *parts, tail, f"{self._progress.watch.seen.open_tasks} open in Redis")

    def _lanes(self) -> Table:
        seen, limits = self._progress.watch.seen, self._progress.stack.limits
        table = Table(box=None, padding=(0, 1))
        for column in ("lane", "queue's peak", "peak of leases"):
            table.add_column(column)
        for lane in Lane:
            leases = [
                f"{model} {used}/{limits.slots(model, tier)}"
                for (model, tier), used in sorted(seen.leases.items())
                if tier is lane.tier and model in models_of(lane)
            ]
            table.add_row(lane, f"{seen.places.get(lane, 0)}/{limits.places(lane)}", "  ".join(leases))
        return table

    def _faults(self) -> Text:
        counts = self._progress.injector.counts
        return Text("faults  " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))

    def _latest(self) -> Text:
        latest = self._progress.injector.happened[-LAST_FAULTS:]
        began = self._progress.started_at
        lines = [f"{each.began_at - began:6.1f} s  {each.fault}" for each in latest]
        return Text("\n".join(lines), "dim", no_wrap=True, overflow="ellipsis")


def elapsed(progress: Progress) -> float:
    return time.monotonic() - progress.started_at


def in_flight(progress: Progress) -> int:
    return sum(progress.stack.llm.state["running"].values())


def memory(progress: Progress) -> float:
    """Return what the functions have together, in MiB."""
    return sum(samples[-1].mib for samples in list(progress.watch.seen.memory.values()) if samples)
