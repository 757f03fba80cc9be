"""`python -m bench.starting`: this part alone; writes nothing."""

from __future__ import annotations

import sys

from bench.alone import run_alone
from bench.starting import measure

if __name__ == "__main__":
    sys.exit(run_alone("starting", measure, "Measures what bench/starting/__init__.py says, and prints it."))
