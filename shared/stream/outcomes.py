"""What a record tells when its stream does not: the terminal event, or since when nobody works on a task."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shared.routing import Model, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.store import clock_ms
from shared.stream.entries import BEGINNING, Entry, StreamId
from shared.stream.events import Cancelled, Done, Error, Event, encode
from shared.stream.source import Source

FIELDS = (
    *(
        "userId",
        "serviceId",
        "state",
        "step",
        "steps",
        "tier",
        "holder",
        "attempt",
        "startedAt",
        "finishedAt",
    ),
    *("result", "usage", "errorCode", "errorMessage", "refunded"),
)
Record = Mapping[str, str]


async def read_record(source: Source, ref: TaskRef) -> Record | None:
    """Return a task's record, if there is one and it is this user's and this service's."""
    values = await source.command("HMGET", keys.task(ref.task_id), *FIELDS)
    record = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
    theirs = record.get("userId") == ref.user_id and record.get("serviceId") == ref.service_id
    return record if theirs and "state" in record else None


def outcome(ref: TaskRef, record: Record, *, above: StreamId = BEGINNING) -> Entry | None:
    """Return the terminal event that a record tells of; None while its task is open.

    Its id is just above the moment of the end, and above whatever its reader has had: a reader that saw the
    stored event is past it or as good as.
    """
    event = _outcome_event(record)
    if event is None:
        return None
    ended_at = ended_ms(record)
    text = encode(event, task_id=ref.task_id, attempt=int(record.get("attempt", 0)), at_ms=ended_at)
    return Entry.of(json.loads(text), max((ended_at, 1), (above[0], above[1] + 1)), text)


def ended_ms(record: Record) -> int:
    return int(record.get("finishedAt", 0))


def _outcome_event(record: Record) -> Event | None:
    refunded = record.get("refunded") == "1"
    match record["state"]:
        case "done":
            result = json.loads(record.get("result", "{}"))
            return Done(
                result=result,
                usage=json.loads(record.get("usage", "{}")),
                latency_ms=max(0, ended_ms(record) - int(record.get("startedAt", ended_ms(record)))),
                text_length=len(result["text"]) if isinstance(result.get("text"), str) else 0,
            )
        case "failed":
            code, message = record.get("errorCode", "internal"), record.get("errorMessage", "")
            return Error(code=code, message=message, refunded=refunded)
        case "cancelled":
            return Cancelled(refunded=refunded)
    return None


async def stalled_since(source: Source, ref: TaskRef, record: Record, silent_since_ms: int) -> int | None:
    """Return since when nobody holds an open task's lease, or it is overdue; None if all is well."""
    if record["state"] == "queued":
        now, deadline = await source.pipeline(("TIME",), ("ZSCORE", keys.OPEN_TASKS, ref.task_id))
        limit = float(deadline) if deadline is not None else 0.0
    else:
        step = json.loads(record["steps"])[int(record["step"])]
        lock = keys.slots(Model(step["modelId"]), Tier(record["tier"]))
        now, lease = await source.pipeline(("TIME",), ("ZSCORE", lock, record["holder"]))
        limit = float(lease) if lease is not None else 0.0
    now_ms = clock_ms(now)
    return None if limit > now_ms else round(limit) or silent_since_ms
