"""The observed bridge: what is sent when its process ends, and what a reader's writes come to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from shared.config import load_events
from shared.stream.observing import ObservedBridge, Writes
from shared.telemetry import instruments
from tests.telemetry_kit import remembering
from tests.unit.test_config import environ_of


class Leaving:
    """A connection that is told to leave."""

    def leave(self) -> None: ...


def test_a_bridge_that_ends_sends_its_last_spans_once_nobody_reads_any_more() -> None:
    """A server that is ended by a signal runs nothing else afterwards."""
    with remembering() as memory:
        bridge, reader = ObservedBridge(load_events(environ_of("events"))), Leaving()
        bridge._connections.add(reader)  # type: ignore[arg-type]
        bridge.close()
        assert memory.ended == []
        bridge._connections.clear()
        bridge._end_with_the_last()
        assert memory.ended == [True]


def test_a_bridge_without_a_reader_sends_them_at_once() -> None:
    with remembering() as memory:
        ObservedBridge(load_events(environ_of("events"))).close()
        assert memory.ended == [True]


async def _send(_message: MutableMapping[str, Any]) -> None: ...


def write(writes: Writes, *bodies: bytes) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.response.start", "status": 200, "headers": headers},
        *({"type": "http.response.body", "body": body} for body in bodies),
    ]
    for message in messages:
        asyncio.run(writes.send(message))


def frame(at_ms: float) -> bytes:
    data = b'{"type":"token_batch","at":%d,"text":"\\"at\\":1"}' % at_ms
    return b"id: 1-1\nevent: token_batch\ndata: " + data + b"\n\n"


def test_lag_is_measured_of_what_was_made_since_the_reader_came_and_once_a_second_at_most() -> None:
    with remembering() as memory:
        writes = Writes(_send)
        now_ms = time.time() * 1000
        write(writes, frame(now_ms - 60_000), frame(now_ms + 1), frame(now_ms + 1))
        assert memory.values(instruments.LAG) == {frozenset(): 1}
        assert memory.values(instruments.CONNECTIONS) == {frozenset(): 1}
        writes.end()
        assert memory.values(instruments.CONNECTIONS) == {frozenset(): 0}
        assert (writes.events, writes.status, writes.streams) == (3, 200, True)


def test_an_answer_of_one_piece_is_no_connection() -> None:
    with remembering() as memory:
        writes = Writes(_send)
        start = {
            "type": "http.response.start",
            "status": 404,
            "headers": [(b"content-type", b"application/json")],
        }
        asyncio.run(writes.send(start))
        writes.end()
        assert memory.values(instruments.CONNECTIONS) == {}
