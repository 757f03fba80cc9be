"""What the demo shows while it runs: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from devstack.demo.board import Board
from devstack.demo.client import Frame
from devstack.demo.tracking import Tracked
from devstack.gauges import Level
from shared.routing import ROUTES, Lane

_TAIL_LINES = 5
_STATE_STYLES = {
    "running": "cyan",
    "queued": "yellow",
    "waiting": "yellow",
    "retrying": "yellow",
    "done": "green",
    "error": "bold red",
    "cancelled": "red",
}


class Screen(Protocol):
    """Told of everything that happens; from several threads."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def chapter(self, title: str) -> None: ...
    def task_started(self, task: Tracked) -> None: ...
    def event(self, task: Tracked, frame: Frame) -> None: ...


def screen_for(console: Console, board: Board) -> Screen:
    """Return the screen that suits where the output goes."""
    return LiveScreen(console, board) if console.is_terminal else PlainScreen(console, board)


class PlainScreen:
    """One line for each thing that happens; text as its lines become whole."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board
        self._shown: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def chapter(self, title: str) -> None:
        self._line(f"== {title} (balance {self._board.balance})")

    def task_started(self, task: Tracked) -> None:
        lane = "free lane" if task.is_free else "paid lane"
        self._line(f"{task.title}: accepted for {task.accepted['queueId']}, {lane}, task {task.task_id}")

    def event(self, task: Tracked, frame: Frame) -> None:
        match frame.type:
            case "token_batch":
                self._show_lines(task, whole_only=True)
            case "queued":
                self._line(f"{task.title}: queued in {frame.data['queueId']}, {frame.data['position']} ahead")
            case "start":
                self._shown[task.task_id] = 0
                self._line(f"{task.title}: {frame.data['templateId']} runs, attempt {frame.data['attempt']}")
            case _:
                self._show_lines(task, whole_only=False)
                self._line(f"{task.title}: {frame.type}{_reason(frame)}{self._levels()}")

    def _show_lines(self, task: Tracked, *, whole_only: bool) -> None:
        start, text = self._shown.get(task.task_id, 0), task.text
        end = text.rfind("\n") + 1 if whole_only else len(text)
        for line in text[start:end].splitlines():
            if line.strip():
                self._line(f"{task.title} | {line}")
        self._shown[task.task_id] = max(start, end)

    def _levels(self) -> str:
        gauges = self._board.gauges
        if gauges is None:
            return ""
        busy = [f"{lane} {level.used}/{level.limit}" for lane, level in gauges.places.items() if level.used]
        return f"   [queues: {', '.join(busy)}]" if busy else ""

    def _line(self, text: str) -> None:
        line = f"{self._board.seconds:6.1f} s  {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """The picture: lanes with their queues and slots, the tasks under way with the text as it grows."""

    def __init__(self, console: Console, board: Board) -> None:
        self._board = board
        self._title = ""
        self._live = Live(
            console=console, get_renderable=self._picture, refresh_per_second=10, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def chapter(self, title: str) -> None:
        self._title = title

    def task_started(self, task: Tracked) -> None:
        pass  # the picture is drawn anew ten times a second

    def event(self, task: Tracked, frame: Frame) -> None:
        pass

    def _picture(self) -> RenderableType:
        board = self._board
        tasks = list(board.tasks)
        running = [task for task in tasks if task.ended_at is None]
        heading = Text.assemble((self._title, "bold"), f"   balance {board.balance}   {board.seconds:.0f} s")
        ended = [_one_line(task) for task in tasks if task.ended_at is not None]
        return Group(heading, self._lanes(), *ended, *(_panel(task) for task in running))

    def _lanes(self) -> Table:
        table = Table(box=None, padding=(0, 1), expand=False)
        for column in ("lane", "queue", "", "slots in use (model, tier)"):
            table.add_column(column)
        gauges = self._board.gauges
        for lane in Lane:
            if gauges is not None:
                pairs = sorted({r.model for r in ROUTES.values() if r.lane is lane})
                slots = "  ".join(f"{model} {_level(gauges.slots[model, lane.tier])}" for model in pairs)
                level = gauges.places[lane]
                bar = ProgressBar(total=level.limit, completed=level.used, width=10)
                table.add_row(str(lane), bar, _level(level), slots)
        return table


def _level(level: Level) -> str:
    return f"{level.used}/{level.limit}"


def _one_line(task: Tracked) -> Text:
    style = _STATE_STYLES.get(task.state, "")
    seconds = f"{task.total_seconds or 0:.1f} s"
    line = Text.assemble((f"{task.state:<9} ", style), f"{task.title}  {' → '.join(task.lanes)}  {seconds}")
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def _panel(task: Tracked) -> Panel:
    lane = task.lanes[-1] if task.lanes else str(task.accepted["queueId"])
    state = (
        task.state
        if task.position is None or task.state == "running"
        else f"{task.state}, {task.position} ahead"
    )
    tail = "\n".join(task.text.splitlines()[-_TAIL_LINES:]) or "…"
    title = f"{escape(task.title)} · {lane} · {state}"
    return Panel(Text(tail), title=title, title_align="left", border_style=_STATE_STYLES.get(task.state, ""))


def _reason(frame: Frame) -> str:
    reason = frame.data.get("reason") or frame.data.get("message")
    return f" ({reason})" if reason else ""
