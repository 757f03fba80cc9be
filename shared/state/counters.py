"""Queue places: `queue:{queueId}`, a sorted set of task steps by enqueue time.

Taken by `admit_task` for every step at once, given back once, when the step ends. The length is exact because
a place is a member, not a count: adding or removing it twice is the same as once (D6).
"""

from __future__ import annotations

from shared.routing import Lane
from shared.state import keys
from shared.state.store import Store


def depths(store: Store) -> dict[Lane, int]:
    """Return how many places are taken in each lane."""
    counts = store.pipeline([["ZCARD", keys.queue(lane)] for lane in Lane])
    return dict(zip(Lane, map(int, counts), strict=True))
