"""What a run shows: a live line on a terminal, a line for each new step anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_FILE = 150


def terminal() -> Console:
    """Return the console; what goes to a file has room for the tables' columns."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)


class Screen:
    """Shows the latest step of the part that runs; a context manager."""

    def __init__(self, console: Console, parts: int) -> None:
        self._console = console
        self._parts = parts
        self._part = 0
        self._title = ""
        self._step = ""
        self._started = time.monotonic()
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def begin(self, title: str) -> None:
        """Say which part begins."""
        self._part += 1
        self._title = title
        self.show("")

    def show(self, step: str) -> None:
        """Say what the part does now."""
        self._step = step
        if not self._console.is_terminal and step:
            line = f"{self.seconds:6.1f} s  {self._part}/{self._parts}  {self._title}: {step}"
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _picture(self) -> Table:
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        line.add_column(no_wrap=True)
        where = f"part {self._part} of {self._parts}, {self.seconds:.0f} s"
        line.add_row(self._spinner, Text(f"{self._title}: {self._step}"), where)
        return line
