"""`python -m devstack.demo.film`: a performance of the demo as an animated picture for the README.

What is on it has happened: a real performance on a stack of its own, looked at every second.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.text import Text

from devstack.demo.board import Board, Happening
from devstack.demo.client import Frame as Event
from devstack.demo.closing import print_report
from devstack.demo.palette import THEME
from devstack.demo.performance import demo_stack, perform
from devstack.demo.picture import picture
from devstack.demo.report import Report
from devstack.demo.svg import Frame, Row, draw
from devstack.demo.tracking import Tracked
from devstack.demo.words import LOCALES, Words
from devstack.interruption import exit_on_termination
from devstack.sampling import SamplingThread

FILE = Path(__file__).parents[2] / "docs" / "images" / "demo.svg"
LOOK_SECONDS = 0.75
"""Between two looks at the performance."""
FRAME_SECONDS = 0.5
"""How long each is shown: somewhat faster than it was."""
LAST_SECONDS = 9.0


class Camera(SamplingThread):
    """A screen that nobody sees: it keeps what a terminal of its size would show, once in a while."""

    def __init__(self, board: Board, words: Words, size: ConsoleDimensions) -> None:
        super().__init__("camera")
        self.frames: list[Frame] = []
        self._board, self._words, self._size = board, words, size

    def told(self, happening: Happening) -> None:
        pass

    def event(self, task: Tracked, frame: Event) -> None:
        pass

    def sample(self) -> None:
        while not self.over.wait(LOOK_SECONDS):
            shown = picture(self._board, self._words, self._size, time.monotonic())
            self.frames.append(Frame(rows_of(shown, self._size), FRAME_SECONDS))


def main(arguments: list[str] | None = None) -> int:
    """Play the demo, write the picture, and return the exit status: 1 if not all of it held."""
    parser = argparse.ArgumentParser(prog="python -m devstack.demo.film", description=__doc__)
    parser.add_argument("--file", type=Path, default=FILE, help="where the picture goes")
    parser.add_argument("--columns", type=int, default=104, help="of the terminal")
    parser.add_argument("--rows", type=int, default=32, help="of the terminal")
    parser.add_argument("--appearance", choices=("dark", "light"), default="dark", help="of the terminal")
    parser.add_argument("--locale", choices=("en", "zh"), default="en", help="the demo's language")
    options = parser.parse_args(arguments)
    exit_on_termination()
    words, size = Words(LOCALES[options.locale]), ConsoleDimensions(options.columns, options.rows)
    report, frames = _perform(words, size)
    svg = draw(
        [*frames, Frame(closing_rows(report, words, size), LAST_SECONDS)],
        columns=size.width,
        rows=size.height,
        title="make demo",
        appearance=options.appearance,
    )
    options.file.write_text(svg, encoding="utf-8")
    Console(highlight=False).print(f"{options.file}: {len(frames) + 1} frames, {len(svg) // 1000} KB")
    return 0 if report.held else 1


def _perform(words: Words, size: ConsoleDimensions) -> tuple[Report, list[Frame]]:
    cameras: list[Camera] = []

    def camera(board: Board) -> Camera:
        cameras.append(Camera(board, words, size))
        return cameras[-1]

    with (
        tempfile.TemporaryDirectory(prefix="sluice-film-") as folder,
        demo_stack(tokens_per_second=250.0, build_folder=Path(folder)) as stack,
    ):
        report = perform(stack, words, camera)
    return report, cameras[0].frames


def rows_of(shown: RenderableType, size: ConsoleDimensions) -> Sequence[Row]:
    """Return what a terminal of this size shows of it, row by row."""
    console = _console(size)
    return console.render_lines(shown, console.options.update(width=size.width), pad=False)[: size.height]


def closing_rows(report: Report, words: Words, size: ConsoleDimensions) -> Sequence[Row]:
    """Return the last screen: the report, as far as it has room."""
    console = _console(size)
    with console.capture() as capture:
        print_report(report, words, console, "build/acceptance.md")
    return rows_of(Text.from_ansi(capture.get()), size)


def _console(size: ConsoleDimensions) -> Console:
    return Console(
        file=io.StringIO(),
        width=size.width,
        height=size.height,
        force_terminal=True,
        color_system="truecolor",
        theme=THEME,
    )


if __name__ == "__main__":
    sys.exit(main())
