"""`python -m bench` (= `make bench`): measure everything, print it, write the page, say what moved."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from rich.console import Console

from bench.environment import ROOT, EnvironmentFailed, versions_of_peers
from bench.figures import Figure
from bench.node_peers import versions_of_node_peers
from bench.parts import PARTS, load_part
from bench.pipelines.client import Failed
from bench.report.comparison import compare
from bench.report.conditions import conditions
from bench.report.page import Files, write
from bench.report.results import Results
from bench.report.table import print_comparison, print_results
from bench.screen import Screen, terminal
from devstack.interruption import exit_on_termination

FILES = Files(
    page=ROOT / "docs" / "performance.md",
    data=ROOT / "docs" / "performance.json",
    pictures=ROOT / "docs" / "images",
)
PEERS = ("celery", "dramatiq", "taskiq", "taskiq-redis")
FAILED, INTERRUPTED = 1, 130


def main() -> int:
    """Run what the command line asks for.

    Returns:
        0 when everything was measured, goals met or not; 1 when something could not be; 130 after Ctrl-C.
    """
    arguments = _parser().parse_args()
    exit_on_termination()
    try:
        return _run(arguments.only or list(PARTS), terminal(), keep=not arguments.no_write)
    except (EnvironmentFailed, Failed) as failed:
        print(failed, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("bench: interrupted, nothing was written", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures Sluice beside its peers; takes minutes, and both cores for itself.",
        epilog="Exit status: 0 measured, 1 something could not be measured, 130 interrupted.",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(PARTS),
        metavar="PART",
        help=f"one of: {', '.join(PARTS)}; again for more",
    )
    parser.add_argument("--no-write", action="store_true", help="print and compare; leave docs/ as it is")
    return parser


def _run(parts: Sequence[str], console: Console, *, keep: bool) -> int:
    before = _last_results()
    figures: list[Figure] = []
    with Screen(console, len(parts)) as screen:
        for name in parts:
            screen.begin(name)
            figures += load_part(name).measure(screen.show)
    versions = versions_of_peers(PEERS) | versions_of_node_peers()
    results = Results(conditions(screen.seconds, versions), tuple(figures))
    print_results(results, console)
    if before is not None:
        print_comparison(compare(before, results), console)
    if keep:
        write(results if before is None else results.completed_by(before), FILES)
        console.print(f"Written: {FILES.page.relative_to(ROOT)}, its plots, {FILES.data.name}")
    return 0


def _last_results() -> Results | None:
    """Return what the last run left; None where there is none, or none that we can read."""
    try:
        return Results.from_json(FILES.data.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError:
        print(f"{FILES.data.name} cannot be read; nothing to compare with", file=sys.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())
