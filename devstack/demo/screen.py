"""Who is told of what happens: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from devstack.demo.board import Board, Happening, Mood
from devstack.demo.client import Frame
from devstack.demo.picture import picture
from devstack.demo.tracking import Tracked
from devstack.demo.words import Words

REFRESH_PER_SECOND = 8
MIN_COLUMNS, MIN_ROWS = 60, 20
"""What a picture needs; a smaller terminal gets lines."""


class Screen(Protocol):
    """Told of everything that happens; from several threads."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def told(self, happening: Happening) -> None: ...
    def event(self, task: Tracked, frame: Frame) -> None: ...


def screen_for(console: Console, board: Board, words: Words) -> Screen:
    """Return the screen that suits where the output goes."""
    return LiveScreen(console, board, words) if is_live(console) else PlainScreen(console, board, words)


def is_live(console: Console) -> bool:
    """Tell whether a picture can be drawn: FORCE_COLOR makes no terminal of a log."""
    large_enough = console.width >= MIN_COLUMNS and console.height >= MIN_ROWS
    return console.file.isatty() and not console.is_dumb_terminal and large_enough


class PlainScreen:
    """One line for each thing that happens; of a text that grows, its sections' titles."""

    def __init__(self, console: Console, board: Board, words: Words) -> None:
        self._console = console
        self._board = board
        self._words = words
        self._shown: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def told(self, happening: Happening) -> None:
        text = happening.text
        if happening.mood is Mood.CHAPTER:
            text = self._words("plain.chapter", title=text, coins=self._board.balance)
        self._line(text, happening.at_seconds)

    def event(self, task: Tracked, frame: Frame) -> None:
        match frame.type:
            case "token_batch":
                self._sections(task)
            case "queued":
                lane, count = frame.data["queueId"], frame.data["position"]
                self._say("queued", task, lane=lane, count=count, task=task.task_id)
            case "start":
                self._shown[task.task_id] = 0
                self._say("runs", task, template=frame.data["templateId"], attempt=frame.data["attempt"])
            case "step_result":
                self._say("step", task)
            case "done":
                gist = self._words("plain.gist", characters=len(task.text)) if task.text else ""
                self._say("done", task, seconds=task.total_seconds, gist=gist)

    def _sections(self, task: Tracked) -> None:
        """Say the titles that have come since, each once it is whole."""
        shown = self._shown.get(task.task_id, 0)
        end = task.text.rfind("\n") + 1
        self._shown[task.task_id] = max(shown, end)
        for line in task.text[shown:end].splitlines():
            if line.startswith(("#", "score:")):
                self._say("section", task, section=line.lstrip("# "))

    def _say(self, phrase: str, tracked: Tracked, /, **facts: object) -> None:
        text = self._words(f"plain.{phrase}", title=tracked.title, **facts)
        self._line(text, self._board.seconds(time.monotonic()))

    def _line(self, text: str, at_seconds: float) -> None:
        line = f"{at_seconds:6.1f} s  {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """The picture, on a screen of its own: what was on the terminal before is there again afterwards."""

    def __init__(self, console: Console, board: Board, words: Words) -> None:
        self._live = Live(
            console=console,
            get_renderable=lambda: picture(board, words, console.size, time.monotonic()),
            refresh_per_second=REFRESH_PER_SECOND,
            screen=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def told(self, happening: Happening) -> None:
        pass  # the picture is drawn anew all the time, from the board

    def event(self, task: Tracked, frame: Frame) -> None:
        pass
