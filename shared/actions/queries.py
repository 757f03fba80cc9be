"""What a user may read: tasks, coins, résumés, services. Somebody else's things do not exist here (D25)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from shared.actions.admission import Links
from shared.actions.images import Images
from shared.actions.sweeper import Sweeper, ref_of
from shared.config import ActionsSettings
from shared.errors import NotFound
from shared.logs import LogEvent, event
from shared.routing import Tier
from shared.state.lifecycle import State
from shared.state.quota import read_quota
from shared.state.records import list_services, newest_tasks, read_resume, read_service
from shared.state.store import Store
from shared.state.tasks import Tasks
from shared.telemetry.ends import task_cancelled

log = logging.getLogger(__name__)
_RESUME_FIELDS = {
    "summary": "summary",
    "text": "summaryText",
    "summaryAt": "summaryAt",
    "detailed": "detailed",
    "detailedText": "detailedText",
    "detailedAt": "detailedAt",
}
"""What `GET /resume` answers, by the field that keeps it."""


class Queries:
    """Reads, and touches what is overdue on the way."""

    def __init__(
        self,
        settings: ActionsSettings,
        store: Store,
        tasks: Tasks,
        sweeper: Sweeper,
        links: Links,
        images: Images,
    ) -> None:
        self._settings = settings
        self._store = store
        self._tasks = tasks
        self._sweeper = sweeper
        self._links = links
        self._images = images

    def task(self, user_id: str, task_id: str) -> dict[str, Any]:
        """Return a task's state; an overdue one is looked after first."""
        record = self._own(user_id, task_id)
        if record.get("overdue"):
            self._sweeper.touch(task_id)
            record = self._own(user_id, task_id)
        return self._status(record)

    def cancel(self, user_id: str, task_id: str) -> dict[str, Any]:
        """Cancel a task; a task that has ended keeps its state."""
        record = self._own(user_id, task_id)
        state = self._tasks.cancel(ref_of(record))
        if state is None:
            raise NotFound
        event(log, LogEvent.TASK_CANCELLED, task=task_id, state=state)
        if state is State.CANCELLED and not State(record["state"]).ended:
            task_cancelled(Tier(record["tier"]))
        self._images.forget_read({**record, "state": state})
        return {"ok": True, "taskId": task_id, "state": state}

    def quota(self, user_id: str) -> dict[str, Any]:
        quota = read_quota(self._store, user_id, initial=self._settings.initial_quota)
        return {"ok": True, "balance": quota.balance, "ledger": quota.ledger}

    def resume(self, user_id: str) -> dict[str, Any]:
        kept = read_resume(self._store, user_id)
        return {
            "ok": True,
            **{answered: kept.get(name) for answered, name in _RESUME_FIELDS.items()},
            "tasks": newest_tasks(kept),
        }

    def services(self, user_id: str) -> dict[str, Any]:
        return {"ok": True, "services": list_services(self._store, user_id)}

    def service(self, user_id: str, service_id: str) -> dict[str, Any]:
        service = read_service(self._store, user_id, service_id)
        if service is None:
            raise NotFound("There is no such service.")
        shown = {k: v for k, v in service.items() if k != "userId" and not k.startswith("task:")}
        return {"ok": True, "serviceId": service_id, **shown, "tasks": newest_tasks(service)}

    def _own(self, user_id: str, task_id: str) -> dict[str, Any]:
        record = self._tasks.read(task_id)
        if record is None or record["userId"] != user_id:
            raise NotFound("There is no such task.")
        return record

    def _status(self, record: Mapping[str, Any]) -> dict[str, Any]:
        ref, state, step = ref_of(record), State(record["state"]), int(record["step"])
        return {
            "ok": True,
            "taskId": ref.task_id,
            "serviceId": ref.service_id,
            "action": record["action"],
            "state": state,
            "step": step,
            "attempt": int(record["attempt"]),
            "queueId": json.loads(record["steps"])[step]["queueId"],
            "position": record.get("position"),
            "etaSeconds": record.get("etaSeconds"),
            "isFree": record["tier"] == Tier.FREE,
            **_outcome(record, state),
            "refunded": record["refunded"] == "1",
            "streamUrl": self._links.stream_url(ref, record.get("traceparent")),
            "createdAt": int(record["createdAt"]),
            "finishedAt": int(record["finishedAt"]) if "finishedAt" in record else None,
        }


def _outcome(record: Mapping[str, Any], state: State) -> dict[str, Any]:
    if state is State.DONE:
        return {"result": json.loads(record["result"])}
    if state is State.FAILED:
        return {"error": {"code": record["errorCode"], "message": record["errorMessage"]}}
    return {}
