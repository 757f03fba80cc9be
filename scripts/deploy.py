#!/usr/bin/env python3
"""The release engineer's command: builds, deploys, verifies and rolls back the functions.

    scripts/deploy.py build                      stage every bundle under build/ and print its digest
    scripts/deploy.py build --package            make the zips that are deployed
    scripts/deploy.py plan --env dev             what apply would do
    scripts/deploy.py --help                     all there is

Exit status: 0 done, or nothing to do; 1 an error, wrong usage too; 2 there is something to do (plan, drift).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"


def use_the_locked_packages() -> None:
    """Go on in the repository's own environment, whichever Python the shell found."""
    if not PYTHON.exists():
        raise SystemExit("deploy: the locked packages are not installed yet; run: make setup")
    if Path(sys.prefix).resolve() != PYTHON.parents[1].resolve():
        os.execv(PYTHON, [str(PYTHON), *sys.argv])  # noqa: S606  # the same program, no shell


if __name__ == "__main__":
    use_the_locked_packages()
    sys.path.insert(0, str(ROOT))
    from deployment.cli.main import main

    # A CI system that gives up must leave what Ctrl-C leaves: what was live before, and a free lock.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
