"""A user's coins: `quota:{sha256}` and its ledger.

Written only inside `admit_task` (first grant, debit), the ends of a task (refund) and `grant_quota`, each in
the script that also changes what it is about: a debit without a task, or a refund of one that ended `done`,
cannot be written (D15, D19). So the ledger's sum is the balance, always.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from shared.state import keys
from shared.state.scripts import load_script
from shared.state.store import Store


@dataclass(frozen=True, slots=True)
class Quota:
    """A balance in coins and every line that led to it, oldest first."""

    balance: int
    ledger: list[dict[str, Any]]
    known: bool
    """Whether there is such a user; a new one's first grant is written when the first task is admitted."""

    @property
    def unexplained(self) -> int:
        """How many coins the balance has more than its ledger says; 0 unless something is very wrong."""
        if not (self.known or self.ledger):
            return 0
        return self.balance - sum(int(line["delta"]) for line in self.ledger)


@dataclass(frozen=True, slots=True)
class Granted:
    """What became of a grant: `coins` are those of the grant that stands under its reference."""

    status: Literal["granted", "replay", "mismatch", "short"]
    """Done; done before; refused: the reference stands for other coins, or there are not so many to take."""
    coins: int
    balance: int


def read_quota(store: Store, user_id: str, *, initial: int) -> Quota:
    """Return a user's quota; one who was never seen has `initial` coins and an empty ledger."""
    balance, lines = store.pipeline(
        [["HGET", keys.quota(user_id), "balance"], ["LRANGE", keys.ledger(user_id), 0, -1]]
    )
    ledger = [json.loads(line) for line in lines]
    return Quota(initial if balance is None else int(balance), ledger, known=balance is not None)


def grant(store: Store, user_id: str, coins: int, reference: str, *, initial: int) -> Granted:
    """Grant a user `coins`, or take some back when it is below 0: once for each reference.

    The user sees the reference in the ledger. One who was never seen is granted `initial` coins first.
    """
    mark = hashlib.sha256(reference.encode()).hexdigest()
    request = json.dumps({"coins": coins, "reference": reference, "mark": mark, "initialQuota": initial})
    answer = store.script(load_script("grant_quota"), [keys.quota(user_id), keys.ledger(user_id)], [request])
    return Granted(**json.loads(answer))
