"""What an answer costs in Redis commands: of producer and lane, with the reader, and as Upstash bills.

python -m bench.commands --rounds 3
"""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Figure

ROUNDS = 1


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """Measure in the time that `make bench` has for it."""
    from bench.commands.counting import measure_commands  # its parts import this package

    return measure_commands(progress, ROUNDS)
