"""`python -m bench.lane`: this part alone; writes nothing."""

from __future__ import annotations

import sys

from bench.alone import run_alone
from bench.lane import measure

if __name__ == "__main__":
    sys.exit(run_alone("lane", measure, "Measures what bench/lane/__init__.py says, and prints it."))
