"""`python -m bench.commands`: this part alone; writes nothing."""

from __future__ import annotations

import argparse
import sys

from bench.commands.counting import measure_commands
from bench.pipelines.client import Failed
from bench.report.conditions import conditions
from bench.report.results import Results
from bench.report.table import print_results
from bench.screen import Screen, terminal
from devstack.interruption import exit_on_termination


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of 20 answers at once (1; each takes 12 s)")
    parser.add_argument(
        "--spending", type=int, default=0, help="more rounds, for what Redis spends and keeps (0)"
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.spending < 0:
        parser.error("--rounds must be 1 or more, --spending 0 or more")
    exit_on_termination()
    console = terminal()
    try:
        with Screen(console, 1) as screen:
            screen.begin("commands")
            figures = measure_commands(screen.show, options.rounds, spending_rounds=options.spending)
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print_results(Results(conditions(screen.seconds, {}), tuple(figures)), console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
