"""How cost grows with places, ended tasks, streams in a lane, a user's tasks, the length of an answer.

Redis's own clock says how long a script runs (INFO commandstats), so that neither a client nor a network is
in the figure; what a process spends is its own processor time. Sizes are measured round after round, all in
one run, and a figure is the ratio of the largest to the smallest.

python -m bench.growth --rounds 5 --pictures
"""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Figure

ROUNDS = 2


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Measure all of it in the time that `make bench` has for it."""
    from bench.growth.measuring import measure_growth  # its parts import this package

    return [figure for curve in measure_growth(progress, ROUNDS) for figure in curve.figures()]
