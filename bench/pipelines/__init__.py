"""Sluice beside its peers: the same work, the same fake model, the same reader, interleaved.

python -m bench.pipelines --rounds 5
"""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Figure

ROUNDS = 2


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Measure all of it in the time that `make bench` has for it."""
    from bench.pipelines.measuring import measure_pipelines  # its parts import this package

    return measure_pipelines(progress, ROUNDS)
