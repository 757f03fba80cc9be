"""`python -m devstack.demo`: boot, play the story, prove it, report it; 0 only if all of it held."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

from rich.console import Console

from deployment.bundles.staging import BuildError
from devstack.demo.arguments import parse
from devstack.demo.closing import print_report
from devstack.demo.palette import HURT, THEME
from devstack.demo.performance import demo_stack, perform
from devstack.demo.report import Report, write_markdown
from devstack.demo.screen import is_live, screen_for
from devstack.demo.words import Words
from devstack.interruption import exit_on_termination
from devstack.processes import StackError

LOG_COLUMNS, LOG_ROWS = 160, 1000
"""A log is wide, for nobody resizes it, and long enough for all there is to say."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    options = parse(arguments)
    exit_on_termination()
    words, console = Words(options.locale), _console()
    try:
        report = _run(console, words, options)
    except (StackError, BuildError) as error:
        _say(console, f"demo: {error}", HURT)
        return 1
    except KeyboardInterrupt:
        _say(console, f"demo: {words('interrupted')}")
        return 130
    return conclude(report, words, console, options.log)


def conclude(report: Report, words: Words, console: Console, log: Path) -> int:
    """Write and print what came of it; returns the exit status, which is 0 only if all of it held."""
    write_markdown(report, words, log)
    print_report(report, words, console, _short(log))
    return 0 if report.held else 1


def _run(console: Console, words: Words, options: argparse.Namespace) -> Report:
    stack = demo_stack(
        store=options.store,
        first_token_ms=options.first_token_ms,
        tokens_per_second=options.tokens_per_second,
        build_folder=options.build,
    )
    with contextlib.ExitStack() as running:
        with _waiting(console, words("boot")):
            running.enter_context(stack)
        try:
            return perform(stack, words, lambda board: screen_for(console, board, words))
        except KeyboardInterrupt:
            _say(console, f"demo: {words('ending')}")
            raise


def _waiting(console: Console, text: str) -> contextlib.AbstractContextManager[object]:
    """Say what is waited for; where a picture can be drawn, something moves meanwhile."""
    if is_live(console):
        return console.status(text)
    _say(console, text)
    return contextlib.nullcontext()


def _console() -> Console:
    # Where the locale has no such letters, something readable comes out all the same.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(theme=THEME)
    if not console.file.isatty():
        console.width, console.height = LOG_COLUMNS, LOG_ROWS
    return console


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _short(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


if __name__ == "__main__":
    sys.exit(main())
