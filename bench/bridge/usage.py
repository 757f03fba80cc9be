"""What a process and its children have used so far, as Linux tells it: processor time and memory."""

from __future__ import annotations

import os
from pathlib import Path

from shared.state.store import TcpStore


def family(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    return sum(_cpu_ticks(each) for each in family(pid)) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> int:
    return sum(_resident_kib(each) for each in family(pid))


def reads(valkey_url: str) -> tuple[int, float]:
    """Return how many XREADs Redis has run, and for how many seconds."""
    store = TcpStore(valkey_url)
    lines = store.command("INFO", "commandstats").splitlines()
    store.close()
    line = next((line for line in lines if line.startswith("cmdstat_xread:")), "calls=0,usec=0")
    return int(line.split("calls=")[1].split(",")[0]), int(line.split("usec=")[1].split(",")[0]) / 1e6


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
