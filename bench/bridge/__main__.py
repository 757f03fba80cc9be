"""How many readers one bridge holds, how late they are, and what that costs.

A real Valkey, the function `events` as it is deployed, a process of readers and a process of writers, all on
this machine: they share its processors, so a figure is an upper bound of what the bridge alone would show. A
bare relay takes its turns in between: what it shows of the same machine in the same minute is the limit.
"""

from __future__ import annotations

import argparse
import sys

from bench.bridge.measuring import measure_load
from bench.bridge.run import Load
from bench.figures import Figure
from devstack.interruption import exit_on_termination

INTERRUPTED = 130


def main() -> int:
    arguments = _parser().parse_args()
    exit_on_termination()
    load = Load(
        arguments.connections, arguments.active, arguments.rate, arguments.per_channel, arguments.turnover
    )
    try:
        figures = measure_load(load, arguments.rounds, arguments.seconds, _say, relay=not arguments.no_relay)
    except KeyboardInterrupt:
        return INTERRUPTED
    for figure in figures:
        print(_line(figure))
    return int(any(any(figure.values) for figure in figures if _is_loss(figure)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bridge",
        description=__doc__,
        epilog="Exit status: 0 every event arrived at everybody, 1 some did not, 130 interrupted.",
    )
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--active", type=float, default=0.2, help="the share of channels that are written to")
    parser.add_argument("--rate", type=float, default=20, help="batches a second into each of them")
    parser.add_argument("--seconds", type=float, default=5, help="of one window")
    parser.add_argument("--rounds", type=int, default=3, help="windows of each")
    parser.add_argument("--per-channel", type=int, default=1, help="readers of one channel")
    parser.add_argument(
        "--turnover", type=float, default=0, help="other channels become active each so many seconds"
    )
    parser.add_argument("--no-relay", action="store_true", help="measure the bridge alone")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _is_loss(figure: Figure) -> bool:
    return figure.name.endswith("events lost")


def _line(figure: Figure) -> str:
    least, most = figure.spread
    goal = f"   {figure.goal.text}: {'met' if figure.is_met else 'not met'}" if figure.goal else ""
    value = f"{figure.median:>9.2f} {figure.unit:<6} ({least:.2f}–{most:.2f})"
    return f"{figure.name:<75}{figure.subject:<20}{value}{goal}"


if __name__ == "__main__":
    sys.exit(main())
