"""What `make reliability` shows while it runs: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devstack.reliability.results import TrialResult
from devstack.reliability.running import Watcher
from devstack.reliability.tally import Tally
from devstack.reliability.trials import Section, Trial

_PROBLEMS_SHOWN = 5


class Screen(Watcher, Protocol):
    """A watcher that shows what it is told."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen_for(console: Console, sections: Sequence[Section]) -> Screen:
    """Return the screen that suits where the output goes."""
    count = sum(len(section.trials) for section in sections)
    return LiveScreen(console, count) if console.is_terminal else PlainScreen(console, count)


class PlainScreen:
    """One line for each trial, as it ends."""

    def __init__(self, console: Console, count: int) -> None:
        self._console = console
        self._count = count
        self._ended = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def booting(self, section: Section) -> None:
        pass

    def began(self, section: Section, trial: Trial, tally: Tally) -> None:
        pass

    def ended(self, section: Section, result: TrialResult) -> None:
        self._ended += 1
        where = f"{time.monotonic() - self._started:6.1f} s  {self._ended:>2}/{self._count}"
        for line in _lines(section, result):
            self._console.print(Text.assemble(where, "  ", line), soft_wrap=True)
            where = " " * len(where)


class LiveScreen(PlainScreen):
    """The same lines, and below them what runs now, for how long, and how far all of it is."""

    def __init__(self, console: Console, count: int) -> None:
        super().__init__(console, count)
        self._now = ""
        self._now_since = self._started
        self._tally = Tally()
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=console, get_renderable=self._picture, refresh_per_second=10, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def booting(self, section: Section) -> None:
        self._show(f"{section.name}: booting its stack", Tally())

    def began(self, section: Section, trial: Trial, tally: Tally) -> None:
        self._show(f"{section.name}: {trial.title}", tally)

    def _show(self, text: str, tally: Tally) -> None:
        self._now, self._tally, self._now_since = text, tally, time.monotonic()

    def _picture(self) -> RenderableType:
        now = time.monotonic()
        found = f"{self._tally.runs} runs, {len(self._tally.problems)} problems"
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(self._spinner, Text(self._now), f"{found}, {now - self._now_since:.0f} s")
        bar = Table.grid(padding=(0, 1))
        progress = ProgressBar(total=self._count, completed=self._ended, width=40)
        bar.add_row(progress, f"{self._ended} of {self._count} trials, {now - self._started:.0f} s")
        return Group(line, bar)


def _lines(section: Section, result: TrialResult) -> list[Text]:
    mark = Text("held ", "green") if result.held else Text("BROKE", "bold red")
    did = (
        f"  {section.name}: {result.title}  ({result.faults} faults, {result.runs} runs, {result.seconds} s)"
    )
    notes = [Text(f"       {note}", "dim") for note in result.notes]
    problems = [Text(f"       {problem}", "red") for problem in result.problems[:_PROBLEMS_SHOWN]]
    if left_out := len(result.problems) - len(problems):
        problems.append(Text(f"       … {left_out} more lines on the page", "red"))
    return [mark + Text(did), *notes, *problems]
