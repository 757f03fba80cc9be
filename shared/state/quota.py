"""A user's coins: `user:{id}:quota` and its ledger.

Written only inside `admit_task` (grant, debit) and the ends of a task (refund), in the script that also
changes the task: a debit without a task, or a refund of one that ended `done`, cannot be written (D15,
D19).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from shared.state import keys
from shared.state.store import Store


@dataclass(frozen=True, slots=True)
class Quota:
    """A balance in coins and every line that led to it, oldest first."""

    balance: int
    ledger: list[dict[str, Any]]


def read_quota(store: Store, user_id: str, *, initial: int) -> Quota:
    """Return a user's quota; one who was never seen has `initial` coins and an empty ledger."""
    balance, lines = store.pipeline(
        [["HGET", keys.quota(user_id), "balance"], ["LRANGE", keys.ledger(user_id), 0, -1]]
    )
    return Quota(initial if balance is None else int(balance), [json.loads(line) for line in lines])
