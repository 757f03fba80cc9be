"""Every Redis key, spelt once.

| key | type | holds |
|---|---|---|
| `task:{taskId}` | hash | the task's record: ids, steps, state, attempt, money, input, result |
| `cs:events:{userId}:{serviceId}:{taskId}` | stream | the task's events; its ids are the fence |
| `tasks:open` | sorted set | open tasks by deadline, ms |
| `user:{userId}:active` | set | the user's open tasks |
| `user:{userId}:keys` | sorted set | names of short-lived keys, for a deletion, by creation, ms |
| `quota:{sha256}` | hash | a user's `balance`, in coins; it outlives the user's deletion |
| `ledger:{sha256}` | list | every grant, debit and refund, JSON, oldest first |
| `user:{userId}:resume` | hash | the user's summarised résumés |
| `user:{userId}:services` | sorted set | the user's services by creation, ms |
| `service:{serviceId}` | hash | a service: its advertisement, match, customised résumé, interview tips |
| `idem:{userId}:{sha256}` | string | which task an Idempotency-Key led to, 24 h |
| `rate:{sha256}:{kind}` | hash | requests of one kind in this window (`since`, ms) and the one before |
| `queue:{queueId}` | sorted set | queue places: `{taskId}:{step}` by enqueue time, ms |
| `promised:{queueId}` | sorted set | users (SHA-256) that a full queue refused, by when they may come, ms |
| `queue:rates` | hash | per queue: end of the last step (`at`, ms), mean interval (`ms`); `controls` |
| `controls:changes` | list | the last changes of the controls, JSON, newest first |
| `lock:model:{modelId}:{tier}` | sorted set | model slots: holder by lease expiry, ms |
| `journal` | stream | one entry for each step that ended, JSON; two hours and what is not folded yet |
| `tallies` | hash | counts of refusals, take-overs, retries by kind, label, lane and minute |
| `sums` | hash | what the journal came to since ever: counts, histograms, and how far it has been read |
| `usage:{day}` | hash | what a day's steps used, by tier, template, model, lane and currency |
| `usage:users:{day}` | hash | what a day's steps used, by user (SHA-256) and currency |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from shared.routing import Lane, Model, Tier

OPEN_TASKS = "tasks:open"
QUEUE_RATES = "queue:rates"
CONTROLS_FIELD = "controls"
"""The field of QUEUE_RATES with the operators' controls: every transition is given that key anyway."""
CONTROL_CHANGES = "controls:changes"
JOURNAL = "journal"
TALLIES = "tallies"
SUMS = "sums"
NO_KEY = "none"
"""Stands where a transition's key list has a place that a call does not use; nothing is ever stored there."""


def task(task_id: str) -> str:
    return f"task:{task_id}"


def is_task(key: str) -> bool:
    """Tell whether a key is a task's record."""
    return key.startswith("task:")


def task_id(key: str) -> str:
    """Return the id of the task whose record a key is."""
    return key.removeprefix("task:")


def events(user_id: str, service_id: str, task_id: str) -> str:
    return f"cs:events:{user_id}:{service_id}:{task_id}"


def active(user_id: str) -> str:
    return f"user:{user_id}:active"


def user_keys(user_id: str) -> str:
    return f"user:{user_id}:keys"


def quota(user_id: str) -> str:
    """Hide who it is: a deleted user's balance stays, so that deleting oneself makes no coins."""
    return f"quota:{_sha256(user_id)}"


def ledger(user_id: str) -> str:
    return f"ledger:{_sha256(user_id)}"


def resume(user_id: str) -> str:
    return f"user:{user_id}:resume"


def services(user_id: str) -> str:
    return f"user:{user_id}:services"


def service(service_id: str) -> str:
    return f"service:{service_id}"


def idempotency(user_id: str, key: str) -> str:
    """Hash the caller's key: it is a stranger's text of any length."""
    return f"idem:{user_id}:{_sha256(key)}"


def rate(user_id: str, kind: str) -> str:
    """Hide who it is: it is written before anybody asks whether there is such a user."""
    return f"rate:{_sha256(user_id)}:{kind}"


def queue(lane: Lane) -> str:
    return f"queue:{lane}"


def promised(lane: Lane) -> str:
    return f"promised:{lane}"


def slots(model: Model, tier: Tier) -> str:
    return f"lock:model:{model}:{tier}"


def usage(day: str) -> str:
    return f"usage:{day}"


def users_usage(day: str) -> str:
    return f"usage:users:{day}"


def user_hash(user_id: str) -> str:
    """Return what stands for a user where something outlives the user's deletion."""
    return _sha256(user_id)


@dataclass(frozen=True, slots=True)
class TaskRef:
    """The three ids that name a task and its channel."""

    task_id: str
    service_id: str
    user_id: str


def of_transition(
    ref: TaskRef,
    *,
    lock: str = NO_KEY,
    result: str = NO_KEY,
    index: str = NO_KEY,
    idempotency_key: str = NO_KEY,
) -> list[str]:
    """Return the KEYS that every transition takes, in the order that `lua/lib_task.lua` names them."""
    return [
        task(ref.task_id),
        events(ref.user_id, ref.service_id, ref.task_id),
        OPEN_TASKS,
        active(ref.user_id),
        quota(ref.user_id),
        ledger(ref.user_id),
        lock,
        QUEUE_RATES,
        idempotency_key,
        result,
        index,
        user_keys(ref.user_id),
        JOURNAL,
        TALLIES,
        *(queue(lane) for lane in Lane),
    ]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
