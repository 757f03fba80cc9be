"""The journal: one entry for each step that ended, whichever way, written by the transition that ended it.

    finish, fail, release (the last), cancel, claim, requeue, sweep ─▶ journal ─▶ sums.fold ─▶ sums by day

An entry holds all that is known of the step: ids, durations, tokens, cost. No text, and no user's id but its
SHA-256. It is there for two hours, and until it has been folded; for longer, see `sums.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.logs import LogEvent, event
from shared.state import keys
from shared.state.store import Store

log = logging.getLogger(__name__)

KEPT_MS = 2 * 3600 * 1000
"""How long an entry stays that has been folded."""
BEGINNING = "0-0"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class StepEnd:
    """A step that ended. Names stay text: what was written stays readable when the routing table changes."""

    id: str
    """The entry's id in the stream."""
    at_ms: int
    task_id: str
    user: str
    """The SHA-256 of the user's id, as `keys.user_hash` makes it."""
    tier: str
    action: str
    lane: str
    template: str
    model: str
    step: int
    """From 0."""
    state: str
    """`done`, `failed` or `cancelled`; also of a step that another follows."""
    ended_task: bool
    """Whether the task ended with it."""
    code: str
    """Why it failed; empty otherwise."""
    attempts: int
    """Claims of this step; 0 when it never ran."""
    waited_ms: int
    """How much of its waiting budget it used."""
    run_ms: int
    """How long its last attempt ran; 0 when that was lost, or there was none."""
    ttft_ms: int | None
    """From the last attempt's call to its first text; None when there was none."""
    latency_ms: int
    """From the task's admission to this end."""
    tokens_in: int
    """Of all its attempts, as far as their ends were told; cached ones are among them."""
    tokens_out: int
    tokens_cached: int
    cost_micros: int
    """Millionths of `currency`."""
    currency: str
    """Empty when nothing is known to have been used."""
    refunded_coins: int

    @classmethod
    def from_entry(cls, entry_id: str, data: Mapping[str, Any]) -> StepEnd:
        """Return what an entry says.

        Raises:
            KeyError, TypeError, ValueError: no transition has written this.
        """
        at_ms, ttft = int(data["at"]), data.get("ttftMs")
        return cls(
            id=entry_id,
            at_ms=at_ms,
            task_id=str(data["taskId"]),
            user=str(data["user"]),
            tier=str(data["tier"]),
            action=str(data["action"]),
            lane=str(data["lane"]),
            template=str(data["template"]),
            model=str(data["model"]),
            step=int(data["step"]),
            state=str(data["state"]),
            ended_task=bool(data["last"]),
            code=str(data["code"]),
            attempts=int(data["attempts"]),
            waited_ms=int(data["waitedMs"]),
            run_ms=int(data["runMs"]),
            ttft_ms=None if ttft is None else int(ttft),
            latency_ms=int(data["latencyMs"]),
            tokens_in=int(data["in"]),
            tokens_out=int(data["out"]),
            tokens_cached=int(data["cached"]),
            cost_micros=int(data["costMicros"]),
            currency=str(data["currency"]),
            refunded_coins=int(data["refunded"]),
        )


def ended_steps(store: Store, *, since_ms: int = 0, at_most: int = 1000) -> Iterator[StepEnd]:
    """Yield the steps that ended since a moment of Redis's clock, the newest first.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    before, left = "+", at_most
    while left > 0:
        page = store.command("XREVRANGE", keys.JOURNAL, before, since_ms, "COUNT", min(left, _PAGE))
        yield from parsed(page)
        left -= len(page)
        if len(page) < _PAGE:
            return
        before = f"({page[-1][0]}"


def entries_after(store: Store, entry_id: str, at_most: int) -> Sequence[Any]:
    """Return the entries after an id, oldest first, as Redis answers them."""
    entries: Sequence[Any] = store.command("XRANGE", keys.JOURNAL, f"({entry_id}", "+", "COUNT", at_most)
    return entries


def parsed(entries: Sequence[Any]) -> Iterator[StepEnd]:
    """Yield what entries say; one that no transition wrote is told of in the log and left out."""
    for entry_id, fields in entries:
        try:
            yield StepEnd.from_entry(entry_id, json.loads(fields[1]))
        except (KeyError, TypeError, ValueError, IndexError):
            event(log, LogEvent.ENTRY_UNREADABLE, entry=entry_id)
