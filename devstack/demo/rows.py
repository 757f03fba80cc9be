"""The tasks of the live picture: one row each, in words for who never saw one."""

from __future__ import annotations

from rich.text import Text

from devstack.demo import palette
from devstack.demo.board import Board
from devstack.demo.tracking import Tracked
from devstack.demo.words import Words
from shared.routing import Lane

LANE_CELLS = 12
MIN_TITLE_CELLS = 22


def task_rows(board: Board, words: Words, width: int, rows: int, now: float) -> list[Text]:
    """Return the tasks in at most so many rows; those that ended first give way first, and are counted."""
    tasks, away = list(board.tasks), board.turned_away
    room = rows - (1 if away else 0)
    ended = [task for task in tasks if task.ended_at is not None]
    under_way = len(tasks) - len(ended)
    gone = ended[: len(tasks) - room + 1] if len(tasks) > room else []
    lines = [_counted(len(gone), words)] if gone and under_way < room else []
    lines += [_row(task, board, words, width, now) for task in tasks if task not in gone]
    if away:
        seconds = max(0, round(away.again_at - now))
        lines.append(_line("refused", away.title, "", words("show.refused", seconds=seconds), width))
    return lines[:rows]


def _counted(count: int, words: Words) -> Text:
    mark, colour = palette.STATES["done"]
    return Text.assemble((f"{mark} ", colour), (words("show.finished", count=count), palette.SOFT))


def _row(task: Tracked, board: Board, words: Words, width: int, now: float) -> Text:
    lane = task.lanes[-1] if task.lanes else str(task.accepted["queueId"])
    return _line(task.state, task.title, lane, _state(task, board, words, now), width)


def _line(state: str, title: str, lane: str, words: str, width: int) -> Text:
    mark, colour = palette.STATES[state]
    name = Text(title)
    name.truncate(MIN_TITLE_CELLS, overflow="ellipsis", pad=True)
    lane_name = Text(lane, palette.LANES[Lane(lane)] if lane in set(Lane) else "")
    lane_name.truncate(LANE_CELLS, pad=True)
    line = Text.assemble((f"{mark} ", colour), name, " ", lane_name, " ", words)
    line.truncate(width, overflow="ellipsis")
    return line


def _state(task: Tracked, board: Board, words: Words, now: float) -> str:
    match task.state:
        case "done":
            seconds, first = task.total_seconds, task.first_text_seconds
            if first is None:
                return words("show.done", seconds=seconds)
            return words("show.done_text", seconds=seconds, first=first)
        case "running":
            return _running(task, words)
        case "queued":
            return _queued(task, board, words, now)
        case "accepted":
            return words("show.sending")
        case _:
            return words(f"show.{task.state}")


def _running(task: Tracked, words: Words) -> str:
    step = task.steps[-1]
    if not step.streams:
        doing = words(f"doing.{step.template}")
        return doing if step.attempt == 1 else words("show.again", attempt=step.attempt, doing=doing)
    phrase = "show.writing" if step.attempt == 1 else "show.writing_again"
    return words(phrase, attempt=step.attempt, characters=len(step.text))


def _queued(task: Tracked, board: Board, words: Words, now: float) -> str:
    ahead = board.ahead.get(task.task_id, 0)
    state = words("show.ahead", count=ahead) if ahead else words("show.queued")
    if task.eta_at is not None and task.eta_at > now:
        state += words("show.eta", seconds=round(task.eta_at - now))
    return state
