"""What stays of a user's tasks: summarised résumés, services and their results.

Results are written by `finish_task` in the script that ends the task, so that a visible `done` and a stored
result are one (D17, D23). Fields hold JSON; `{field}At` is the creation time of the task that wrote a
field, and an older task that finishes late never replaces what a newer one stored. `task:{action}` names the
newest task of each action, for a page that is opened again while it runs. A record is kept for
RETENTION_SECONDS from its last write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.routing import Template
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.store import Store

UPLOADS = "resume"
"""Stands for a service in the ids of an upload: it belongs to a user, not to one application."""

_FIELDS: Mapping[Template, str] = {
    Template.RESUME_SUMMARY: "summary",
    Template.DETAILED_RESUME_SUMMARY: "detailed",
    Template.JOB_VISION_SUMMARY: "job",
    Template.JOB_MATCH: "match",
    Template.RESUME_CUSTOMIZE: "customized",
    Template.INTERVIEW_PREP: "interview",
}


@dataclass(frozen=True, slots=True)
class Keep:
    """Where a template's result is kept beyond its task: a hash and a field of it."""

    key: str
    field: str


def record_key(ref: TaskRef) -> str:
    """Return the hash that keeps a task's results: its service's, or for an upload the user's résumés."""
    return keys.resume(ref.user_id) if ref.service_id == UPLOADS else keys.service(ref.service_id)


def keeps(template: Template, ref: TaskRef) -> Keep:
    """Return where the result of `template` is kept."""
    return Keep(record_key(ref), _FIELDS[template])


def read_resume(store: Store, user_id: str) -> dict[str, Any]:
    """Return what is kept of a user's résumés (`summary`, `detailed`, their texts, times), if any."""
    return _parsed(store.command("HGETALL", keys.resume(user_id)))


def read_service(store: Store, user_id: str, service_id: str) -> dict[str, Any] | None:
    """Return a service of this user; None when there is none, or it is somebody else's (D25)."""
    record = _parsed(store.command("HGETALL", keys.service(service_id)))
    return record if record.get("userId") == user_id else None


def read_materials(store: Store, ref: TaskRef) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a user's résumés and a service's record, in one round trip."""
    resume, service = store.pipeline(
        [["HGETALL", keys.resume(ref.user_id)], ["HGETALL", keys.service(ref.service_id)]]
    )
    return _parsed(resume), _parsed(service)


def list_services(store: Store, user_id: str, limit: int = 100) -> list[dict[str, Any]]:
    """Return a user's newest services, newest first, without their long texts."""
    ids = store.command("ZREVRANGE", keys.services(user_id), 0, limit - 1)
    wanted = ("createdAt", "matchAt", "customizedAt", "interviewAt", "score", "title", "company")
    rows = store.pipeline([["HMGET", keys.service(i), *wanted] for i in ids]) if ids else []
    expired = [i for i, row in zip(ids, rows, strict=True) if row[0] is None]
    if expired:
        store.command("ZREM", keys.services(user_id), *expired)
    return [
        {"serviceId": i, **{k: _value(v) for k, v in zip(wanted, row, strict=True) if v is not None}}
        for i, row in zip(ids, rows, strict=True)
        if i not in expired
    ]


def newest_tasks(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the newest task of each action that a record names."""
    return {name.removeprefix("task:"): value for name, value in record.items() if name.startswith("task:")}


def _parsed(flat: Any) -> dict[str, Any]:
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {name: _value(text) if name != "userId" else text for name, text in pairs}


def _value(text: str) -> Any:
    return json.loads(text)
