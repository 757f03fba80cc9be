"""`python -m devstack.reliability`: run the trials, write what they came to; 0 only if everything held."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deployment.bundles.staging import BUILD_FOLDER
from devstack.interruption import exit_on_termination
from devstack.reliability.conditions import conditions
from devstack.reliability.progress import screen_for
from devstack.reliability.report import Files, write
from devstack.reliability.results import Results, SectionResult
from devstack.reliability.running import OpenStack, open_stack, run_sections
from devstack.reliability.sections import SECTIONS
from devstack.reliability.table import print_table
from devstack.reliability.trials import SHORT, THOROUGH, Effort, Section

LOG_COLUMNS = 160
"""The width of a log: nobody resizes it, and a table that is not folded can be searched."""
_DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = Files(_DOCS / "reliability.md", _DOCS / "reliability.json")
PARTIAL = Files(BUILD_FOLDER / "reliability.md", BUILD_FOLDER / "reliability.json")


def main(
    arguments: Sequence[str] | None = None,
    sections: Sequence[Section] = SECTIONS,
    opened: OpenStack = open_stack,
    published: Files = PUBLISHED,
    partial: Files = PARTIAL,
) -> int:
    """Do what the arguments say, and return the exit status.

    Args:
        arguments: the command line's; the process's own when None.
        sections: all that there are.
        opened: boots a section's stack.
        published: where a whole run is written.
        partial: where any other run is written.
    """
    options = _parser(sections).parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = LOG_COLUMNS
    if options.list:
        return _list(console, sections)
    files = _files(options, published, partial)
    if options.redraw is not None:
        write(Results.from_json(options.redraw.read_text(encoding="utf-8")), files)
        return _say_where(console, files)
    chosen = [section for section in sections if not options.only or section.name in options.only]
    return _run(console, _effort(options), chosen, opened, files)


def _parser(sections: Sequence[Section]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make reliability", description=__doc__)
    names = [section.name for section in sections]
    parser.add_argument("--only", action="append", choices=names, metavar="SECTION", help="repeatable")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--short", action="store_true", help="one round, as in `make test`")
    effort.add_argument("--rounds", type=_positive, help=f"how often each is done ({THOROUGH.rounds})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="where the page goes, its picture beside it"
    )
    parser.add_argument("--list", action="store_true", help="list sections and trials, run nothing")
    parser.add_argument(
        "--redraw", type=Path, metavar="JSON", help="write the page anew from such a file, run nothing"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _effort(options: argparse.Namespace) -> Effort:
    if options.short:
        return SHORT
    return THOROUGH if options.rounds is None else Effort(rounds=options.rounds, thorough=True)


def _files(options: argparse.Namespace, published: Files, partial: Files) -> Files:
    """Return where the results go: only a whole, thorough run replaces what is published."""
    if options.redraw is not None:
        whole = options.redraw.resolve() == published.data
    else:
        whole = (
            not options.only and not options.short and (options.rounds or THOROUGH.rounds) >= THOROUGH.rounds
        )
    usual = published if whole else partial
    return Files(options.markdown or usual.page, options.json or usual.data)


def _list(console: Console, sections: Sequence[Section]) -> int:
    for section in sections:
        console.print(f"{section.name}: {section.promise}", markup=False, highlight=False, soft_wrap=True)
        for trial in section.trials:
            console.print(f"  - {trial.title}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _run(
    console: Console, effort: Effort, sections: Sequence[Section], opened: OpenStack, files: Files
) -> int:
    known, started = conditions(effort), time.monotonic()
    ended: list[SectionResult] = []
    try:
        with screen_for(console, sections) as screen:
            ended.extend(run_sections(sections, effort, screen, opened))
    except KeyboardInterrupt:
        console.print("reliability: interrupted; everything it started has been ended, nothing was written")
        return 130
    seconds = round(time.monotonic() - started, 1)
    results = Results(conditions=known.model_copy(update={"seconds": seconds}), sections=tuple(ended))
    print_table(results, console)
    write(results, files)
    _say_where(console, files)
    return 0 if results.held else 1


def _say_where(console: Console, files: Files) -> int:
    for file in (files.page, files.data):
        console.print(f"written: {_short(file)}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    exit_on_termination()
    sys.exit(main())
