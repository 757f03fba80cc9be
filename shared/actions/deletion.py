"""`DELETE /me`: everything that is kept of a user goes, and the answer says how much it was.

Open tasks are cancelled first (refunded, their workers stopped by the fence), then images go, then the
records, in one script. Whatever fails on the way, the same call again does the rest. The balance stays, under
a hash.
"""

from __future__ import annotations

import logging
from typing import Any

from shared.actions.images import Images
from shared.actions.sweeper import ref_of
from shared.errors import UserBusy
from shared.logs import LogEvent, event
from shared.state.erasure import ROUNDS, Erased, active_tasks, erase_user
from shared.state.lifecycle import State
from shared.state.store import Store
from shared.state.tasks import Tasks

log = logging.getLogger(__name__)


class Deletion:
    """Removes users."""

    def __init__(self, store: Store, tasks: Tasks, images: Images, *, initial_quota: int) -> None:
        self._store = store
        self._tasks = tasks
        self._images = images
        self._initial_quota = initial_quota

    def delete(self, user_id: str) -> dict[str, Any]:
        """Remove everything of a user; returns how many things it was.

        Raises:
            UserBusy: new tasks kept coming meanwhile.
            StoreUnavailable, BlobUnavailable: not all is gone; call again.
        """
        cancelled = images = 0
        for _ in range(ROUNDS):
            cancelled += self._cancel_open(user_id)
            images += self._images.forget_all(user_id)
            erased = erase_user(self._store, user_id)
            if erased is not None:
                event(log, LogEvent.USER_DELETED, tasks=erased.tasks)
                return self._answer(erased, cancelled, images)
        raise UserBusy(retry_after_seconds=1)

    def _cancel_open(self, user_id: str) -> int:
        records = [self._tasks.read(task_id) for task_id in active_tasks(self._store, user_id)]
        open_ones = [record for record in records if record and not State(record["state"]).ended]
        return sum(self._tasks.cancel(ref_of(record)) is State.CANCELLED for record in open_ones)

    def _answer(self, erased: Erased, cancelled: int, images: int) -> dict[str, Any]:
        removed = {
            "resumes": erased.resumes,
            "services": erased.services,
            "tasks": erased.tasks,
            "cancelled": cancelled,
            "images": images,
        }
        balance = self._initial_quota if erased.balance is None else erased.balance
        return {"ok": True, "removed": removed, "balance": balance}
