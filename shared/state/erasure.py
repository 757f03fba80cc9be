"""Forgetting a user: all that Redis keeps of them, removed by one script.

Every short-lived key of a user is noted in `user:{userId}:keys` by the script that makes it, and services in
their index; so nothing has to be searched for. The balance stays, under the hash of the user's id, so that
deleting oneself makes no coins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from shared.errors import UserBusy
from shared.state import keys
from shared.state.scripts import load_script
from shared.state.store import Store

ROUNDS = 5
"""How often the keys are looked up anew when the user goes on adding some meanwhile."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How many things were removed; `balance` is what stays, None for a user never seen."""

    resumes: int
    services: int
    tasks: int
    balance: int | None


def active_tasks(store: Store, user_id: str) -> list[str]:
    """Return the ids of a user's tasks that may be open."""
    ids: list[str] = store.command("SMEMBERS", keys.active(user_id))
    return sorted(ids)


def erase_user(store: Store, user_id: str) -> Erased | None:
    """Remove everything of a user; None when a task of theirs is open, which has to be ended first.

    Raises:
        UserBusy: new things kept coming while these were removed.
    """
    for _ in range(ROUNDS):
        noted, services = store.pipeline(
            [["ZRANGE", keys.user_keys(user_id), 0, -1], ["ZRANGE", keys.services(user_id), 0, -1]]
        )
        records = [name for name in noted if keys.is_task(name)]
        others = [name for name in noted if not keys.is_task(name)]
        named = [*(keys.service(service_id) for service_id in services), *records, *others]
        request = json.dumps({"services": len(services), "keys": len(noted), "tasks": len(records)})
        answer = json.loads(store.script(load_script("forget_user"), [*_of_user(user_id), *named], [request]))
        if answer["status"] == "busy":
            return None
        if answer["status"] == "done":
            return Erased(answer["resumes"], answer["services"], answer["tasks"], answer["balance"])
    raise UserBusy(retry_after_seconds=1)


def _of_user(user_id: str) -> list[str]:
    return [
        keys.OPEN_TASKS,
        keys.active(user_id),
        keys.user_keys(user_id),
        keys.services(user_id),
        keys.resume(user_id),
        keys.quota(user_id),
        keys.ledger(user_id),
    ]
