"""What a function holds: all processes of its web server, memory that they share counted once.

PSS (proportional set size): each page counts by its share, so master and worker together are what the machine
has to have, and what a cloud counts.
"""

from __future__ import annotations

from bench.bridge.usage import resident_kib


def held_mb(pid: int) -> float:
    """Return the PSS of a process and all that it has started, in MB (2^20 bytes)."""
    return resident_kib(pid) / 1024
