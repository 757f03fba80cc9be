"""How many readers one bridge holds, how late they are, and what that costs; a bare relay beside it.

python -m bench.bridge --connections 10000 --seconds 10
"""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Figure

ROUNDS = 2
WINDOW_SECONDS = 2.5


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Measure the two smaller sizes in the time that `make bench` has for it."""
    from bench.bridge.measuring import LOADS, measure_load  # its parts import this package

    figures: list[Figure] = []
    for load in LOADS[:2]:
        figures += measure_load(load, ROUNDS, WINDOW_SECONDS, progress)
    return figures
