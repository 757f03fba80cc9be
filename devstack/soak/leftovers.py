"""Invariants of the end: nothing is held, nobody is connected, and no process has grown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from devstack.soak.evidence import Evidence, Leftovers
from devstack.soak.finding import Finding, Problem
from devstack.soak.watch import MemorySample

WARM_SECONDS = 8.0
"""A process is measured from this age on: it imports the models' library meanwhile."""
MIN_SAMPLES = 5
GROWTH = 1.3
"""What a process may have in the last quarter, compared with the second."""
SHARED_READERS = 1
"""The bridge's one connection that waits for events stays for a while when its last reader has gone."""
REDIS_CONNECTIONS_PER_FUNCTION = 16
"""A pool keeps what a function's threads have used at once; it never closes them."""


def check_leftovers(evidence: Evidence) -> Iterator[Finding]:
    """Yield what there is to say of what is left."""
    left = evidence.leftovers
    assert left is not None
    told = f"{len(left.places)} queues, leases, open tasks, users' sets; {left.lapsed_leases} lapsed leases"
    yield Finding.of("all sets are empty", told, _sets(left))
    told = ", ".join(f"{name} {count}" for name, count in left.connections.items())
    told += f"; {left.retrying} messages wait for a retry" if left.retrying else ""
    yield Finding.of("no call, no message, no reader is left", told, _wires(left, evidence.quiet_connections))
    judged = {name: each for name, samples in evidence.seen.memory.items() if (each := quarters(samples))}
    told = ", ".join(f"{name} {second:.0f} → {last:.0f} MiB" for name, (second, last) in judged.items())
    yield Finding.of("no process grew", told or "too short a run to tell", _memory(judged))


def _sets(left: Leftovers) -> Iterator[Problem]:
    for lane, used in left.places.items():
        if used:
            yield Problem(f"{used} places of {lane} are taken")
    for what, count in (
        ("live leases", left.live_leases),
        ("open tasks", left.open_tasks),
        ("in users' sets", left.active),
    ):
        if count:
            yield Problem(f"{count} {what}")


def _wires(left: Leftovers, quiet: Mapping[str, int]) -> Iterator[Problem]:
    if left.unrest:
        yield Problem(f"still under way: {left.unrest}")
    if left.blocked_clients > SHARED_READERS:
        yield Problem(f"{left.blocked_clients} connections to Redis wait for something")
    for name, count in left.connections.items():
        allowed = quiet.get(name, 0)
        if name == "Redis":
            allowed += REDIS_CONNECTIONS_PER_FUNCTION * (len(left.connections) - 1)
        if count > allowed:
            yield Problem(f"{name} has {count} connections, at most {allowed} are due")


def _memory(judged: Mapping[str, tuple[float, float]]) -> Iterator[Problem]:
    for name, (second, last) in judged.items():
        if last > GROWTH * second:
            yield Problem(f"{name} grew from {second:.0f} to {last:.0f} MiB")


def quarters(samples: Sequence[MemorySample]) -> tuple[float, float] | None:
    """Return the medians of a run's second and last quarters; None when there is too little to tell."""
    if not samples:
        return None
    start, end = samples[0].at, samples[-1].at
    born = {pid: min(s.at for s in samples if s.pid == pid) for pid in {s.pid for s in samples}}
    warm = [s for s in samples if s.at - born[s.pid] >= WARM_SECONDS]
    quarter = (end - start) / 4
    second = [s.mib for s in warm if start + quarter <= s.at < start + 2 * quarter]
    last = [s.mib for s in warm if s.at >= end - quarter]
    if min(len(second), len(last)) < MIN_SAMPLES:
        return None
    return statistics.median(second), statistics.median(last)
