"""What the demo shows where: a picture that fits its terminal, plain lines in a log, a report that names what failed."""

from __future__ import annotations

import io
import os
import pty
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions

from devstack.demo.__main__ import conclude
from devstack.demo.board import Board, Mood, TurnedAway
from devstack.demo.client import Frame
from devstack.demo.closing import print_report
from devstack.demo.film import rows_of
from devstack.demo.palette import THEME
from devstack.demo.picture import picture
from devstack.demo.proof import Check
from devstack.demo.report import LaneRow, Report, TaskRow
from devstack.demo.screen import LiveScreen, PlainScreen, screen_for
from devstack.demo.svg import Frame as Still
from devstack.demo.svg import draw
from devstack.demo.tracking import Tracked
from devstack.demo.words import Locale, Words
from devstack.gauges import Gauges, Level
from shared.routing import ROUTES, Lane

TEXT = "score: 92\n## Strengths\n- **Python**: used in earnest\n" + "and so on " * 80
NOW = 1000.0


def a_task(number: int, *, text: str = TEXT) -> Tracked:
    accepted = {"taskId": f"t{number}", "serviceId": "s", "isFree": False, "queueId": "paid_stream"}
    task = Tracked(f"Match {number}", accepted, NOW)
    start = {"step": 0, "templateId": "job_match", "queueId": "paid_stream", "attempt": 1}
    task.apply(Frame("1-0", "start", start), NOW)
    task.apply(Frame("1-1", "token_batch", {"step": 0, "text": text, "offset": 0}), NOW + 1)
    return task


def a_board(tasks: int = 6) -> Board:
    board = Board(started_at=NOW, balance=4)
    board.begin("Two jobs at once, one a photo; and a worker dies")
    board.chapter_began_at = NOW
    board.note(
        Gauges(
            places=dict.fromkeys(Lane, Level(2, 6)),
            slots={(route.model, tier): Level(1, 5) for (_, tier), route in ROUTES.items()},
            open_tasks=tasks,
        )
    )
    board.tasks += [a_task(number) for number in range(tasks)]
    board.turned_away = TurnedAway("Match, free", NOW + 9)
    for number in range(12):
        board.tell(Mood.HURT, f"happening {number} " + "with many words " * 5)
    return board


def shown(board: Board, columns: int, rows: int, locale: Locale = "en") -> list[str]:
    size = ConsoleDimensions(columns, rows)
    uncut = ConsoleDimensions(columns, 200)
    lines = rows_of(picture(board, Words(locale), size, NOW + 5), uncut)
    return ["".join(segment.text for segment in line) for line in lines]


@contextmanager
def terminal() -> Iterator[TextIO]:
    """A terminal that nobody looks at, 80 by 24."""
    other_end, own_end = pty.openpty()
    with os.fdopen(own_end, "w") as file:
        yield file
    os.close(other_end)


def console_on(file: TextIO, **more: str) -> Console:
    return Console(file=file, width=80, height=24, theme=THEME, _environ={"TERM": "xterm-256color", **more})


# -- the picture ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en", "zh"])
@pytest.mark.parametrize(
    ("columns", "rows"), [(60, 20), (80, 24), (104, 32), (119, 20), (120, 20), (160, 50), (250, 70)]
)
def test_the_picture_fills_its_terminal_and_no_row_is_longer(columns: int, rows: int, locale: Locale) -> None:
    lines = shown(a_board(), columns, rows, locale)
    assert len(lines) == rows
    assert max(cell_len(line) for line in lines) <= columns


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (7, 3), (30, 10), (200, 4)])
def test_a_terminal_made_tiny_in_the_middle_of_it_breaks_nothing(columns: int, rows: int) -> None:
    shown(a_board(), columns, rows)
    shown(Board(), columns, rows)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50)])
def test_lanes_slots_tasks_texts_and_the_newest_happening_are_seen_at_once(columns: int, rows: int) -> None:
    seen = "\n".join(shown(a_board(tasks=4), columns, rows))
    for words in (*Lane, "■■□□□□ 2/6", "deepseek-chat paid", "●○○○○", "Match 3", "score 92", "happening 11"):
        assert words in seen
    assert "queue full, again in 4 s" in seen


def test_tasks_that_ended_first_give_way_to_those_under_way_and_are_counted() -> None:
    board = a_board(tasks=9)
    for task in board.tasks[:6]:
        task.apply(Frame("2-0", "done", {}), NOW + 2)
    seen = "\n".join(shown(board, 80, 24))
    assert "6 done before" in seen
    for number in (6, 7, 8):
        assert f"▶ Match {number}" in seen


def test_the_end_of_a_text_is_seen_rendered_not_its_marks() -> None:
    board = a_board(tasks=1)
    board.tasks = [
        a_task(
            1, text="score: 92\n" + "## Long\n\nline\n\n" * 40 + "## Strengths\n- **Python**: the very end"
        )
    ]
    seen = "\n".join(shown(board, 80, 24))
    assert "the very end" in seen
    assert "**" not in seen
    assert "##" not in seen


def test_a_bold_word_is_bold_before_it_is_whole() -> None:
    board = a_board(tasks=1)
    board.tasks = [a_task(1, text="score: 92\n- **Python** and **Red")]
    seen = "\n".join(shown(board, 80, 24))
    assert "Python and Red" in seen


def test_the_share_of_the_story_that_is_done_only_grows_and_ends_within_the_whole() -> None:
    board = Board(started_at=NOW)
    shares = []
    for chapter in range(4):
        board.begin("next")
        board.chapter_began_at = NOW + 100 * chapter
        shares += [board.done_share(board.chapter_began_at + seconds) for seconds in (0, 5, 50, 5000)]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert board.seconds_left(NOW + 400) >= 0


# -- which screen --------------------------------------------------------------------------------------------


def test_a_log_gets_lines_also_where_colours_are_forced() -> None:
    file = io.StringIO()
    for environment in ({}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}):
        assert isinstance(screen_for(console_on(file, **environment), Board(), Words("en")), PlainScreen)


def test_a_terminal_gets_the_picture_unless_it_is_dumb_or_tiny() -> None:
    with terminal() as file:
        assert isinstance(screen_for(console_on(file), Board(), Words("en")), LiveScreen)
        assert isinstance(screen_for(console_on(file, TERM="dumb"), Board(), Words("en")), PlainScreen)
        tiny = Console(file=file, width=40, height=24, _environ={"TERM": "xterm"})
        assert isinstance(screen_for(tiny, Board(), Words("en")), PlainScreen)


def test_a_log_has_no_control_characters_and_of_a_text_only_its_titles() -> None:
    file, board = io.StringIO(), a_board(tasks=0)
    screen = PlainScreen(console_on(file), board, Words("en"))
    task = a_task(1, text="")
    for number, piece in enumerate(TEXT.split(" ")):
        frame = Frame(
            f"2-{number}", "token_batch", {"step": 0, "text": f"{piece} ", "offset": len(task.text)}
        )
        task.apply(frame, NOW)
        screen.event(task, frame)
    screen.told(board.tell(Mood.CHAPTER, "A chapter"))
    lines = file.getvalue().splitlines()
    assert [line.split("s  ", 1)[1] for line in lines] == [
        "Match 1: score: 92",
        "Match 1: Strengths",
        "== A chapter (coins: 4)",
    ]
    assert file.getvalue().replace("\n", "").isprintable()


# -- the report ----------------------------------------------------------------------------------------------


def a_report(*checks: Check) -> Report:
    row = TaskRow(
        "Job match, photo, free",
        "paid_vision → paid_stream",
        "m",
        "2",
        "10.46 s",
        "12.00 s",
        "1",
        "2 + 3",
        "done",
    )
    lanes = [LaneRow(lane, "2 / 6", "m 1 / 5") for lane in Lane]
    return Report([row] * 9, lanes, [], checks, [], seconds=38)


def printed(report: Report, columns: int, rows: int) -> str:
    file = io.StringIO()
    print_report(report, Words("en"), Console(file=file, width=columns, height=rows, theme=THEME), "the.log")
    return file.getvalue()


HELD = [Check(Words("en")(f"claim.{name}"), held=True, found="") for name in Words("en")._phrases["claim"]]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (104, 32), (160, 50)])
def test_when_all_of_it_held_the_report_is_one_screen(columns: int, rows: int) -> None:
    lines = printed(a_report(*HELD), columns, rows).splitlines()
    assert len(lines) < rows
    assert max(cell_len(line.rstrip()) for line in lines) <= columns
    assert lines[-2].startswith("All of it held: 18 of 18 claims")


def test_a_failed_claim_is_named_with_what_was_found_and_what_to_look_at() -> None:
    failed = Check("Every queue is empty", held=False, found="paid_batch 1", look="build/logs/actions.log")
    text = printed(a_report(*HELD, failed), 80, 24)
    assert "✗ Every queue is empty\n  found: paid_batch 1\n  look at build/logs/actions.log" in text
    assert text.index("✗ Every queue") > text.index("✓ A full queue says")
    assert "NOT all of it held: 1 of 19 claims failed" in text
    assert "All of it held" not in text.replace("NOT all of it held", "")


@pytest.mark.parametrize(("held", "status"), [(True, 0), (False, 1)])
def test_the_exit_status_is_0_only_if_all_of_it_held(held: bool, status: int, tmp_path: Path) -> None:
    report = a_report(*HELD, Check("one more", held=held, found="it"))
    console = Console(file=io.StringIO(), width=80, theme=THEME)
    assert conclude(report, Words("en"), console, tmp_path / "acceptance.md") == status
    assert "one more" in (tmp_path / "acceptance.md").read_text()


# -- the film ------------------------------------------------------------------------------------------------


def test_the_film_shows_each_frame_in_its_time_and_the_last_to_who_wants_no_motion(tmp_path: Path) -> None:
    size = ConsoleDimensions(80, 24)
    board = a_board()
    stills = [
        Still(rows_of(picture(board, Words("en"), size, NOW + at), size), seconds=at) for at in (1.0, 3.0)
    ]
    svg = draw(stills, columns=80, rows=24, title="make <demo>", appearance="dark")
    assert "@keyframes k0{0.000%{visibility:visible}25.000%,100%{visibility:hidden}}" in svg
    assert "@keyframes k1{0%{visibility:hidden}25.000%{visibility:visible}100%{visibility:visible}}" in svg
    assert "@media(prefers-reduced-motion){.f{animation:none}#f1{visibility:visible}}" in svg
    assert "<title>make &lt;demo&gt;</title>" in svg
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|@import|url\(", svg)
    assert svg.count(">deepseek-chat paid<") == 1  # a row that stays is drawn once
