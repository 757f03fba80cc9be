"""How many connections a process holds: no more than its memory and its descriptors allow.

The bound on a process is for its operator: beyond it the platform should start another one, and until then a
newcomer is told when to come back. The bound on a channel is for whoever opens one page a thousand times.
"""

from __future__ import annotations

import resource

MAX_CONNECTIONS = 10_000
MAX_CONNECTIONS_PER_CHANNEL = 64
RESERVED_DESCRIPTORS = 64
"""For Redis, the listening socket, logs, and connections that are refused."""


def connection_limit() -> int:
    """Return how many connections this process may hold; raises its limit of descriptors if it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_DESCRIPTORS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(MAX_CONNECTIONS, soft - RESERVED_DESCRIPTORS))
