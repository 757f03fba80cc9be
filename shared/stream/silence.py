"""What a silent stream means: asked of Redis rarely, for all silent streams at once.

    alive     somebody holds the lease, or the task waits within its deadline
    stalled   nobody does, and nobody has taken over yet
    ended     the record says so, though the stream does not (it has expired): its outcome is in the record
    gone      there is no such task (any more)

One look at the deadlines of all silent tasks and at the few leases there are tells who is alive; only the
others' records are read. A connection never waits on a dead task without saying so (D32).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.errors import StoreUnavailable
from shared.logs import LogEvent, event
from shared.routing import Model, Tier
from shared.state import keys
from shared.state.store import clock_ms
from shared.stream.channels import Channel
from shared.stream.entries import BEGINNING, Entry
from shared.stream.events import EventType, Stalled, encode
from shared.stream.follower import Follower
from shared.stream.outcomes import Record, outcome, read_record, stalled_since
from shared.stream.replay import read_extent
from shared.stream.source import Source

log = logging.getLogger(__name__)
MAX_TICK_SECONDS = 4.0
MAX_DOUBLINGS = 4
CHANNELS_AT_ONCE = 200
WAITING = frozenset({EventType.QUEUED, EventType.BACKPRESSURE, EventType.RETRYING, EventType.STEP_RESULT})
"""A task whose last event is one of these holds no lease."""
LOCKS = tuple(keys.slots(model, tier) for model in Model for tier in Tier)


async def suspects(source: Source, channels: Sequence[Channel]) -> list[Channel]:
    """Return the channels whose task is not plainly alive: within its deadline and, if it runs, leased."""
    ids = [channel.ref.task_id for channel in channels]
    waiting = {channel for channel in channels if channel.last_type in WAITING}
    leases = [("ZRANGE", lock, 0, -1, "WITHSCORES") for lock in LOCKS] if len(waiting) < len(channels) else []
    now, deadlines, *locks = await source.pipeline(("TIME",), ("ZMSCORE", keys.OPEN_TASKS, *ids), *leases)
    now_ms = clock_ms(now)
    running = {task_id for holders in locks for task_id in _live(holders, now_ms)}

    def is_alive(channel: Channel, deadline: str | None) -> bool:
        if deadline is None:
            return False  # it has ended, or never was
        return channel.ref.task_id in running or (channel in waiting and float(deadline) > now_ms)

    return [each for each, deadline in zip(channels, deadlines, strict=True) if not is_alive(each, deadline)]


def _live(holders: Sequence[str], now_ms: int) -> Iterable[str]:
    """Return the tasks of a lock's holders, `taskId:step:epoch`, whose lease has not lapsed."""
    for holder, expiry_ms in zip(holders[::2], holders[1::2], strict=True):
        if float(expiry_ms) > now_ms:
            yield holder.partition(":")[0]


@dataclass(slots=True)
class _Check:
    """When a channel is looked at next, and after how many looks in this silence."""

    heard_at: float
    due_at: float
    doublings: int = 0

    def looked(self, lease_seconds: float) -> None:
        self.due_at = time.monotonic() + lease_seconds * 2**self.doublings
        self.doublings = min(MAX_DOUBLINGS, self.doublings + 1)


class SilenceWatch:
    """Looks after silent channels: after a lease's time, then at doubling intervals."""

    def __init__(self, source: Source, follower: Follower, *, lease_seconds: float) -> None:
        self._source = source
        self._follower = follower
        self._lease_seconds = lease_seconds
        self._checks: dict[Channel, _Check] = {}
        self._faults = 0
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch as long as anybody follows anything."""
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self._follower.channels:
            try:
                await self._look_around()
            except StoreUnavailable as error:
                event(log, LogEvent.SILENCE_UNWATCHED, error=error)
            except Exception as error:  # noqa: BLE001 - the watch goes on; told with its stack
                event(log, LogEvent.SILENCE_FAILED, error=error, traced=True)
            await asyncio.sleep(min(MAX_TICK_SECONDS, self._lease_seconds / 8))

    async def _look_around(self) -> None:
        due = self._due()
        for begin in range(0, len(due), CHANNELS_AT_ONCE):
            part = due[begin : begin + CHANNELS_AT_ONCE]
            suspected = set(await suspects(self._source, part))
            for channel in part:
                self._checks[channel].looked(self._lease_seconds)
                if channel not in suspected:
                    channel.stalled = None
            await asyncio.gather(*map(self._look, suspected))

    def _due(self) -> list[Channel]:
        """Return whom nothing was heard of for long; all, when Redis was away: it may have lost them."""
        channels = [channel for channel in self._follower.channels.values() if channel.cursor is not None]
        self._checks = {channel: self._check(channel) for channel in channels}
        faults, self._faults = self._faults, self._follower.faults
        if faults != self._faults:
            return channels
        now = time.monotonic()
        return [channel for channel, check in self._checks.items() if check.due_at <= now]

    def _check(self, channel: Channel) -> _Check:
        check = self._checks.get(channel)
        if check is None or check.heard_at != channel.heard_at:
            check = _Check(channel.heard_at, channel.heard_at + self._lease_seconds)
        return check

    async def _look(self, channel: Channel) -> None:
        record = await read_record(self._source, channel.ref)
        if record is None:
            channel.dismiss()
        elif end := outcome(channel.ref, record, above=channel.cursor or BEGINNING):
            await self._tell_end(channel, end)
        else:
            await self._tell_stall(channel, record)

    async def _tell_end(self, channel: Channel, end: Entry) -> None:
        extent = await read_extent(self._source, channel.key)
        if channel.cursor is not None and extent.last_id <= channel.cursor:
            channel.push([end])  # otherwise the stream has it, and the shared reader is about to bring it

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
            channel.push([channel.stalled])
            silent_ms = round((time.monotonic() - heard_at) * 1000)
            event(log, LogEvent.TASK_STALLED, task=channel.ref.task_id, attempt=attempt, silent_ms=silent_ms)
