"""`python -m bench.pipelines`: this part alone, with as many rounds as there is time for; writes nothing."""

from __future__ import annotations

import argparse
import sys

from bench.environment import EnvironmentFailed, versions_of_peers
from bench.pipelines.client import Failed
from bench.pipelines.measuring import measure_pipelines
from bench.report.conditions import conditions
from bench.report.results import Results
from bench.report.table import print_results
from bench.screen import Screen, terminal
from devstack.interruption import exit_on_termination


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.pipelines", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="interleaved runs (3; each takes a minute or two)"
    )
    rounds: int = parser.parse_args().rounds
    if rounds < 1:
        parser.error("--rounds must be 1 or more")
    exit_on_termination()
    console = terminal()
    try:
        with Screen(console, 1) as screen:
            screen.begin("pipelines")
            figures = measure_pipelines(screen.show, rounds)
    except (EnvironmentFailed, Failed) as failed:
        print(failed, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print_results(
        Results(conditions(screen.seconds, versions_of_peers(("celery",))), tuple(figures)), console
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
