"""`python -m bench.guard`: this part alone; writes nothing."""

from __future__ import annotations

import sys

from bench.alone import run_alone
from bench.guard import measure

if __name__ == "__main__":
    sys.exit(run_alone("guard", measure, "Measures what bench/guard/__init__.py says, and prints it."))
