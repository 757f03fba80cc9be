"""The shared readers of a process: a blocking XREAD over the lively streams, one over the quiet ones.

    join ─▶ (the reader asks for the stream's last entry) ─▶ begin ─▶ history, by XRANGE ─▶ live, pushed
    begin ─▶ lively ─▶ silent for LIVELY_SECONDS ─▶ quiet ─▶ speaks again ─▶ lively

A blocking read costs Redis and this process by the keys it lists, each time it is sent again. Most streams
are silent at any moment (their tasks wait, or their model thinks): a read of their own lists them for
seconds at a stretch, so that what is sent again for every few batches lists those that speak. A stream may
be in both for a moment: its cursor decides what is new.

No gap, no double: a reader joins before it asks for the stream's last id, and reads history after `begin`.
So what is at or before the channel's cursor is in its history, what is after is pushed, and its own place
drops what is in both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from shared.state import keys
from shared.state.keys import TaskRef
from shared.stream.channels import Channel, Subscriber
from shared.stream.entries import BEGINNING
from shared.stream.reading import BLOCK_SECONDS, Reading
from shared.stream.replay import Extent
from shared.stream.source import Source

LIVELY_SECONDS = 3.0


class Follower:
    """Follows streams for its subscribers."""

    def __init__(self, source: Source, *, block_seconds: float = BLOCK_SECONDS) -> None:
        self._channels: dict[str, Channel] = {}
        self._lively = Reading(source, block_seconds=block_seconds)
        self._quiet = Reading(source, block_seconds=block_seconds, spoke=self._wake_up)

    @property
    def channels(self) -> Mapping[str, Channel]:
        return self._channels

    @property
    def faults(self) -> int:
        """How often Redis was lost so far."""
        return self._lively.faults + self._quiet.faults

    def join(self, ref: TaskRef, subscriber: Subscriber) -> Channel:
        """Register a subscriber; it must `leave` again. Nothing is pushed before somebody has begun."""
        key = keys.events(ref.user_id, ref.service_id, ref.task_id)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(ref, key)
        channel.subscribers.add(subscriber)
        return channel

    def leave(self, channel: Channel, subscriber: Subscriber) -> None:
        channel.subscribers.discard(subscriber)
        if not channel.subscribers and self._channels.get(channel.key) is channel:
            del self._channels[channel.key]
            self._lively.discard(channel)
            self._quiet.discard(channel)
        if not self._channels:
            self._lively.end()
            self._quiet.end()

    def begin(self, channel: Channel, extent: Extent) -> None:
        """Follow a channel from the end of what is stored, unless it is followed already."""
        if channel.cursor is not None:
            return
        channel.follow_from(extent.last_id)
        channel.last_type = extent.last.type if extent.last else ""
        if extent.last_id > BEGINNING:  # ids tell Redis's clock: near enough
            channel.heard_at -= max(0.0, time.time() - extent.last_id[0] / 1000)
        self._lively.add([channel])

    def settle(self) -> None:
        """Move the streams that have fallen silent to the quiet read; called every second or so."""
        now = time.monotonic()
        lively = self._lively.channels.values()
        if silent := [channel for channel in lively if now - channel.stirred_at >= LIVELY_SECONDS]:
            _move(silent, self._lively, self._quiet)

    def _wake_up(self, channels: list[Channel]) -> None:
        _move([channel for channel in channels if channel.subscribers], self._quiet, self._lively)


def _move(channels: list[Channel], here: Reading, there: Reading) -> None:
    there.add(channels)
    for channel in channels:
        here.discard(channel)
