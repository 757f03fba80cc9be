"""How often the shared read is sent, and what notices a Redis that is gone without a word."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from devstack.valkey import EmbeddedValkey
from shared.state.keys import TaskRef
from shared.stream.channels import Channel
from shared.stream.reading import CLIENT_ID, PAUSE_SECONDS, PAUSE_SECONDS_SPARSE, Reading, pause_seconds
from shared.stream.source import KEEPALIVE, Command, Source

CHANNELS, READS = 8, 5


class AnsweringSource(Source):
    """Answers each read at once: one batch in each of so many streams."""

    def __init__(self, streams: int) -> None:
        super().__init__("redis://nobody.invalid")
        self.sent_at: list[float] = []
        self.enough = asyncio.Event()
        self._streams = streams

    @asynccontextmanager
    async def own_connection(self, answer_timeout_seconds: float) -> AsyncIterator[Command]:
        async def answer(packed_command: bytes) -> Any:
            if packed_command == CLIENT_ID:
                return 7
            self.sent_at.append(time.monotonic())
            if len(self.sent_at) == READS:
                self.enough.set()
                await asyncio.Event().wait()
            return [(f"stream {n}", [(f"{len(self.sent_at)}-0", ["x", "y"])]) for n in range(self._streams)]

        yield answer


def gaps_seconds(streams: int) -> list[float]:
    async def read() -> list[float]:
        source = AnsweringSource(streams)
        channels = [Channel(TaskRef("t", "s", "u"), f"stream {number}") for number in range(CHANNELS)]
        for channel in channels:
            channel.follow_from((0, 1))
        reading = Reading(source)
        reading.add(channels)
        await asyncio.wait_for(source.enough.wait(), 30)
        reading.end()
        return [later - sooner for sooner, later in zip(source.sent_at, source.sent_at[1:], strict=False)]

    return asyncio.run(read())


@pytest.mark.parametrize(("streams", "least"), [(1, PAUSE_SECONDS_SPARSE), (CHANNELS, PAUSE_SECONDS)])
def test_reads_that_bring_little_are_further_apart_than_those_that_bring_much(
    streams: int, least: float
) -> None:
    clock_grain_seconds = 0.001  # an event loop may round its timers down to a millisecond
    assert all(gap >= least - clock_grain_seconds for gap in gaps_seconds(streams))


def test_a_lone_stream_is_read_without_the_pause_that_gathers_several() -> None:
    assert pause_seconds(1, 1) == PAUSE_SECONDS < pause_seconds(2, 1) == PAUSE_SECONDS_SPARSE


def test_the_pause_grows_with_the_list_and_six_times_faster_while_newcomers_end_the_reads() -> None:
    assert pause_seconds(20_000, 500) == pytest.approx(0.010)
    assert pause_seconds(20_000, 0) == pytest.approx(0.060)


def test_the_kernel_asks_after_redis_while_a_read_is_blocked(own_valkey: EmbeddedValkey) -> None:
    async def options() -> dict[int, int]:
        source = Source(own_valkey.url)
        async with source.own_connection(1.0) as command:
            own_id = int(await command(CLIENT_ID))
            assert own_id > 0
            with _socket_to(own_valkey.port) as connected:
                assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                return {option: connected.getsockopt(socket.IPPROTO_TCP, option) for option in KEEPALIVE}

    assert asyncio.run(options()) == KEEPALIVE


@contextmanager
def _socket_to(port: int) -> Iterator[socket.socket]:
    """Yield a duplicate of this process's connection to a port of this machine."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as each:
            if each.family == socket.AF_INET and each.getpeername()[1] == port:
                yield each
                return
    raise AssertionError(f"nobody is connected to port {port}")
