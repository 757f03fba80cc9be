"""Under what conditions figures were measured: versions and sizes, no path and no name of a machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from devstack.reliability.conditions import commit_of, valkey_version

_OURS = ("redis", "hiredis", "uvicorn", "gunicorn", "flask", "langchain-core", "langchain-openai", "openai")
_MEASURED = ("shared", "functions", "devstack", "infra", "requirements", "bench")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where and when a run was made, and of what."""

    date: str
    commit: str
    python: str
    valkey: str
    system: str
    processor: str
    cores: int
    memory_gib: float
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def same_machine(self, other: Conditions) -> bool:
        """Tell whether times of both runs may be held against each other."""
        return (self.system, self.processor, self.cores) == (other.system, other.processor, other.cores)


def conditions(seconds: float, versions: Mapping[str, str]) -> Conditions:
    """Return the conditions of this run.

    Args:
        seconds: how long the run took.
        versions: of what is not in this environment: the peers'.
    """
    return Conditions(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=commit_of(_MEASURED),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        valkey=valkey_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        versions=_own_versions() | dict(versions),
        seconds=round(seconds, 1),
    )


def _own_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _OURS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Return the processor's model as Linux names it; elsewhere what the platform says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")
