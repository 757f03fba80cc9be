"""The live picture: a function of the board, the terminal's size and the time.

Sluice  2/4  Two jobs at once …                      3 coins  14 s  about 20 s left
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
the lanes' queues            the models' slots
the tasks, those that ended first
the texts as they grow                                  (beside the rest, if it is wide)
what happened, the newest last
"""

from __future__ import annotations

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from devstack.demo import palette
from devstack.demo.board import CHAPTER_SECONDS, Board, Happening, Mood
from devstack.demo.rows import task_rows
from devstack.demo.tracking import Tracked
from devstack.demo.words import Words
from devstack.gauges import Gauges, Level
from shared.routing import Lane

WIDE_COLUMNS = 120
"""From here on the texts stand beside the rest."""
BAR_CELLS = 10
SIDE_BY_SIDE_COLUMNS = 96
"""From here on two texts stand side by side where they stand below the rest."""
MIN_TEXT_ROWS, MIN_STORY_ROWS = 6, 3
_HEADER_ROWS, _LANE_ROWS = 2, 7


def picture(board: Board, words: Words, size: ConsoleDimensions, now: float) -> RenderableType:
    """Return what fills a terminal of this size now."""
    header = _header(board, words, size.width, now)
    rows = size.height - _HEADER_ROWS
    if size.width >= WIDE_COLUMNS:
        left = min(78, size.width * 52 // 100)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=left)
        grid.add_column(width=size.width - left - 2)
        grid.add_row(_facts(board, words, left, rows, now), _texts(board, words, size.width - left - 2, rows))
        return Group(header, grid)
    facts_rows = min(rows - MIN_TEXT_ROWS, max(_LANE_ROWS + 9, rows * 6 // 10))
    text_rows = rows - facts_rows
    return Group(
        header,
        _facts(board, words, size.width, facts_rows, now),
        _texts(board, words, size.width, text_rows),
    )


def _header(board: Board, words: Words, width: int, now: float) -> RenderableType:
    number = f"{board.chapter}/{len(CHAPTER_SECONDS)} "
    left = Text.assemble(("Sluice ", f"bold {palette.BUSY}"), (number, palette.SOFT), (board.title, "bold"))
    facts = [words("show.elapsed", seconds=int(board.seconds(now)))]
    if board.balance is not None:
        facts.insert(0, words("show.coins", coins=board.balance))
    left_seconds = round(board.seconds_left(now))
    if left_seconds:
        facts.append(words("show.left", seconds=left_seconds))
    right = Text("  " + " · ".join(facts), palette.SOFT)
    left.truncate(max(1, width - right.cell_len), overflow="ellipsis", pad=True)
    done = round(width * board.done_share(now))
    return Group(
        left + right, Text.assemble(("━" * done, palette.BUSY), ("━" * (width - done), palette.SOFT))
    )


def _facts(board: Board, words: Words, width: int, rows: int, now: float) -> RenderableType:
    """Return lanes, tasks and happenings in so many rows."""
    rest = rows - _LANE_ROWS
    tasks = task_rows(board, words, width, rest - 1 - MIN_STORY_ROWS, now)
    story_rows = rest - 1 - len(tasks)
    story = _happenings(board, width, story_rows)
    below = [Text() for _ in range(story_rows - len(story))]
    return Group(_lanes(board.gauges, words), *tasks, Text(), *story, *below)


# -- lanes and slots -----------------------------------------------------------------------------------------


def _lanes(gauges: Gauges | None, words: Words) -> RenderableType:
    """Return five lanes on the left, the five sets of slots on the right, and an empty row."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(no_wrap=True)
    soft = palette.SOFT
    table.add_row(*(Text(words(f"show.{name}"), soft) for name in ("lane", "queue", "slots")))
    slots = (
        sorted(gauges.slots.items(), key=lambda each: (each[0][1] != "paid", each[0][0])) if gauges else []
    )
    for number, lane in enumerate(Lane):
        level = gauges.places[lane] if gauges else Level(0, 1)
        name = Text.assemble(("▌", palette.LANES[lane]), lane)
        row: list[Text] = [name, _bar(level, palette.LANES[lane])]
        if number < len(slots):
            (model, tier), held = slots[number]
            row += [Text(f"{model} {tier}"), _dots(held)]
        table.add_row(*row)
    return Group(table, Text())


def _bar(level: Level, colour: str) -> Text:
    """Return a queue's places: one mark each where there are few, a share where there are many."""
    cells = min(level.limit, BAR_CELLS)
    full = -(-level.used * cells // level.limit)
    marks = (palette.FULL * full, colour), (palette.EMPTY * (cells - full), palette.SOFT)
    style = f"bold {palette.HURT}" if level.used >= level.limit else ""
    return Text.assemble(*marks, (f" {level.used}/{level.limit}", style))


def _dots(level: Level) -> Text:
    if level.limit > BAR_CELLS:
        return Text(f"{level.used}/{level.limit}")
    taken = palette.TAKEN * min(level.used, level.limit)
    return Text.assemble((taken, palette.GOOD), (palette.FREE * (level.limit - len(taken)), palette.SOFT))


# -- what happened -------------------------------------------------------------------------------------------


def _happenings(board: Board, width: int, rows: int) -> list[Text]:
    """Return the newest happenings that there is room for; of the oldest of them, as much as fits."""
    console = Console(width=width)
    lines: list[Text] = []
    for happening in reversed(board.happenings):
        room = rows - len(lines)
        if room <= 0:
            break
        lines = _happening(happening, console, room) + lines
    return lines


def _happening(happening: Happening, console: Console, rows: int) -> list[Text]:
    """Return one happening, wrapped below its own beginning."""
    mark, style = palette.MOODS[happening.mood]
    is_title = happening.mood is Mood.CHAPTER
    stamp = "" if is_title else f"{happening.at_seconds:5.1f} s "
    room = console.width - len(stamp) - 2
    wrapped = Text(happening.text, "bold" if is_title else "").wrap(console, room)
    if len(wrapped) > rows:
        wrapped[rows - 1].truncate(room - 2)
        wrapped[rows - 1].append(" …")
    first = Text.assemble((stamp, palette.SOFT), (mark, style), " ", wrapped[0])
    indent = " " * (len(stamp) + 2)
    return [first, *(Text(indent).append_text(line) for line in wrapped[1:rows])]


# -- the texts -----------------------------------------------------------------------------------------------


def _texts(board: Board, words: Words, width: int, rows: int) -> RenderableType:
    """Return the texts that are being written, two at most where there is room; else the one written last."""
    beside = width >= SIDE_BY_SIDE_COLUMNS
    shown = _shown(board, 2 if beside or rows >= 3 * MIN_TEXT_ROWS else 1)
    if not shown:
        return _pane(_tail(words("intro.text"), width - 4, rows - 2, from_top=True), "", palette.SOFT, rows)
    if len(shown) == 1:
        return _text_pane(shown[0], words, width, rows)
    if beside:
        grid = Table.grid(expand=True)
        halves = (width // 2, width - width // 2)
        grid.add_row(*(_text_pane(task, words, half, rows) for task, half in zip(shown, halves, strict=True)))
        return grid
    heights = (rows - rows // 2, rows // 2)
    return Group(
        *(_text_pane(task, words, width, height) for task, height in zip(shown, heights, strict=True))
    )


def _shown(board: Board, count: int) -> list[Tracked]:
    tasks = list(board.tasks)
    writing = [task for task in tasks if task.ended_at is None and task.steps and task.steps[-1].streams]
    if writing:
        return writing[:count]
    written = [task for task in tasks if task.text and task.ended_at is not None]
    return sorted(written, key=lambda task: task.ended_at or 0)[-1:]


def _text_pane(task: Tracked, words: Words, width: int, rows: int) -> RenderableType:
    mark, colour = palette.STATES.get(task.state, ("·", ""))
    title = f"{mark} {task.title}"
    if task.score is not None:
        title += " · " + words("show.score", score=task.score)
    if task.attempt > 1:
        title += " · " + words("show.attempt", attempt=task.attempt)
    body = _closed(task.text.partition("\n")[2] if task.text.startswith("score:") else task.text)
    if not body.strip():
        body = f"*{words('show.thinking')}*"
    return _pane(_tail(body, width - 4, rows - 2), title, colour, rows)


def _closed(growing: str) -> str:
    """Close what the last line has opened, so that half of a bold word is bold already."""
    return growing + "**" * (growing.rpartition("\n")[2].count("**") % 2)


def _pane(body: RenderableType, title: str, colour: str, rows: int) -> RenderableType:
    heading = Text(title, f"bold {colour}") if title else None
    return Panel(body, title=heading, title_align="left", border_style=colour, height=rows)


def _tail(markdown: str, width: int, rows: int, *, from_top: bool = False) -> RenderableType:
    """Return the last rows of a rendered text, as a page does that scrolls along."""
    console = Console(width=width, force_terminal=True, color_system="truecolor", theme=palette.THEME)
    lines = console.render_lines(Markdown(markdown), console.options.update(width=width), pad=False)
    while lines and not "".join(segment.text for segment in lines[-1]).strip():
        lines.pop()
    shown = lines[:rows] if from_top else lines[-rows:]
    flat: list[Segment] = []
    for line in shown:
        flat += [*line, Segment.line()]
    return Padding(Segments(flat), 0)
