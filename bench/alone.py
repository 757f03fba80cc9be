"""One part of the benchmark run by itself: its progress, its table; writes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.figures import Figure
from bench.parts import Progress
from bench.report.conditions import conditions
from bench.report.results import Results
from bench.report.table import print_results
from bench.screen import Screen, terminal
from devstack.interruption import exit_on_termination

INTERRUPTED = 130


def run_alone(name: str, measure: Callable[[Progress], list[Figure]], description: str) -> int:
    """Measure one part and print it; return the exit status."""
    argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description).parse_args()
    exit_on_termination()
    console = terminal()
    try:
        with Screen(console, 1) as screen:
            screen.begin(name)
            figures = measure(screen.show)
    except KeyboardInterrupt:
        return INTERRUPTED
    print_results(Results(conditions(screen.seconds, {}), tuple(figures)), console)
    return 0
