"""What did not go the straight way, counted: refusals, replays, take-overs, retries, requeues, sweeps.

Each is one HINCRBY in the transition that decided it, in the hash `tallies` under
`{kind}|{label}|{lane}|{minute}` of Redis's clock. Minutes older than an hour are added up into one field
without a minute, by `fold_tallies`, so that the hash stays small and a total never falls.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from shared.state import keys
from shared.state.scripts import load_script
from shared.state.store import Store, clock_ms

MINUTES_KEPT = 60


class Tally(StrEnum):
    """What is counted; beside each, its labels."""

    REFUSED = "refused"
    """An admission: `queue_full`, `user_busy`, `draining`, `mismatch`, `rate_limited`, `publish_failed`."""
    REPLAY = "replay"
    """A request whose task was there already: `key` (its Idempotency-Key), `under_way` (one at a time)."""
    CLAIM_REFUSED = "claim_refused"
    """A delivery: `busy`, `no_slot`, `lane_stopped`, `duplicate`, `mismatch`, `unknown`."""
    TAKEOVER = "takeover"
    """An attempt whose lease had lapsed: run `again` by the next delivery, or `exhausted` as the last."""
    RETRY = "retry"
    """An attempt that was given back, by its error code."""
    REQUEUE = "requeue"
    """A message that QStash gave up on: `publish`, or `failed`."""
    SWEEP = "sweep"
    """A task that was overdue: `publish`, `lost`, `wait_timeout`."""


@dataclass(frozen=True, slots=True)
class TallyCount:
    """How often one thing happened."""

    kind: str
    label: str
    lane: str
    """Empty where none is concerned, or none is known."""
    total: int
    """Since ever; never falls."""
    last_hour: int


def read_tallies(store: Store) -> list[TallyCount]:
    """Return all counts, in one round trip.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    time, flat = store.pipeline([("TIME",), ("HGETALL", keys.TALLIES)])
    since = clock_ms(time) // 60_000 - MINUTES_KEPT
    totals: Counter[tuple[str, str, str]] = Counter()
    recent: Counter[tuple[str, str, str]] = Counter()
    for name, count in zip(flat[::2], flat[1::2], strict=True):
        kind, label, lane, minute = name.split("|")
        totals[kind, label, lane] += int(count)
        if minute and int(minute) > since:
            recent[kind, label, lane] += int(count)
    return [TallyCount(*named, total, recent[named]) for named, total in sorted(totals.items())]


def fold_tallies(store: Store) -> None:
    """Add up the minutes that are older than an hour; sent twice, the second finds nothing to do."""
    store.script(load_script("fold_tallies"), [keys.TALLIES], [MINUTES_KEPT])
