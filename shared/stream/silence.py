"""What a silent stream means: asked of Redis rarely, and only when nothing has been heard for a lease.

    alive     somebody holds the lease, or the task waits within its deadline
    stalled   nobody does, and nobody has taken over yet
    ended     the record says so, though the stream does not (it has expired): its outcome is in the record
    gone      there is no such task (any more)

A connection never waits on a dead task without saying so (D32).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import StoreUnavailable
from shared.routing import Model, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.stream.entries import BEGINNING, Entry, StreamId
from shared.stream.events import Cancelled, Done, Error, Event, Stalled, encode
from shared.stream.follower import Channel, Follower
from shared.stream.replay import read_extent
from shared.stream.source import Source

log = logging.getLogger(__name__)
MAX_TICK_SECONDS = 1.0
MAX_DOUBLINGS = 4
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
    now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
    return None if limit > now_ms else round(limit) or silent_since_ms


@dataclass(slots=True)
class _Check:
    """When a channel is looked at next, and after how many looks in this silence."""

    heard_at: float
    due_at: float
    doublings: int = 0


class SilenceWatch:
    """Looks after silent channels: after a lease's time, then at doubling intervals."""

    def __init__(self, source: Source, follower: Follower, *, lease_seconds: float) -> None:
        self._source = source
        self._follower = follower
        self._lease_seconds = lease_seconds
        self._checks: dict[Channel, _Check] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch as long as anybody follows anything."""
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self._follower.channels:
            try:
                for channel in self._due():
                    await self._look(channel)
            except StoreUnavailable:
                log.warning("silent tasks cannot be looked after: Redis is away")
            except Exception:
                log.exception("silent tasks could not be looked after")
            await asyncio.sleep(min(MAX_TICK_SECONDS, self._lease_seconds / 4))

    def _due(self) -> list[Channel]:
        channels = [channel for channel in self._follower.channels.values() if channel.cursor is not None]
        self._checks = {channel: self._check(channel) for channel in channels}
        now = time.monotonic()
        return [channel for channel, check in self._checks.items() if check.due_at <= now]

    def _check(self, channel: Channel) -> _Check:
        check = self._checks.get(channel)
        if check is None or check.heard_at != channel.heard_at:
            check = _Check(channel.heard_at, channel.heard_at + self._lease_seconds)
        return check

    async def _look(self, channel: Channel) -> None:
        check = self._checks[channel]
        check.due_at = time.monotonic() + self._lease_seconds * 2**check.doublings
        check.doublings = min(MAX_DOUBLINGS, check.doublings + 1)
        record = await read_record(self._source, channel.ref)
        if record is None:
            _dismiss(channel)
        elif end := outcome(channel.ref, record, above=channel.cursor or BEGINNING):
            await self._tell_end(channel, end)
        else:
            await self._tell_stall(channel, record)

    async def _tell_end(self, channel: Channel, end: Entry) -> None:
        extent = await read_extent(self._source, channel.key)
        if channel.cursor is not None and extent.last_id <= channel.cursor:
            channel.push(end)  # otherwise the stream has it, and the shared reader is about to bring it

    async def _tell_stall(self, channel: Channel, record: Record) -> None:
        heard_at, cursor = channel.heard_at, channel.cursor
        silent_since_ms = round((time.time() - (time.monotonic() - heard_at)) * 1000)
        since = await stalled_since(self._source, channel.ref, record, silent_since_ms)
        if channel.cursor != cursor:
            return  # somebody has spoken meanwhile
        if since is None:
            channel.stalled = None
        elif channel.stalled is None:
            attempt = int(record.get("attempt", 0))
            text = encode(Stalled(since=since), task_id=channel.ref.task_id, attempt=attempt)
            channel.stalled = Entry.of(json.loads(text), None, text)
            channel.push(channel.stalled)


def _dismiss(channel: Channel) -> None:
    for subscriber in tuple(channel.subscribers):
        subscriber.leave()
