"""What becomes of a reader that reads too slowly: memory for it is bounded, and its text is whole all the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from shared.state.lifecycle import Attempt
from shared.stream.events import TokenBatch, encode
from tests.integration.bridge.kit import KEY, BridgeProcess, Browser, Frame, Work, text_of

CHUNK = "x" * 60_000


class SlowReader:
    """A reader on a bare socket that takes what it is sent only when it is told to."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rb")

    def frames(self) -> Iterator[Frame]:
        """Read to the terminal event."""
        fields: dict[str, str] = {}
        for line in self._chunk_lines():
            name, _, value = line.decode().partition(": ")
            if name in {"id", "event", "data"}:
                fields[name] = value
            elif not line and fields:
                yield Frame(fields["event"], fields.get("id"), json.loads(fields["data"]))
                fields = {}

    def _chunk_lines(self) -> Iterator[bytes]:
        while self._lines.readline().strip():  # the head
            pass
        pending = b""
        while size := int(self._lines.readline(), 16):
            *lines, pending = (pending + self._lines.read(size)).split(b"\n")
            self._lines.readline()
            yield from lines


@contextmanager
def opened(bridge: BridgeProcess, browser: Browser) -> Iterator[SlowReader]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", bridge.port))
        target = httpx.URL(browser.address()).raw_path
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(16, socket.MSG_PEEK)
        yield SlowReader(connection)


def say_more(work: Work, attempt: Attempt, text: str) -> str:
    """Store a big batch; return the whole text."""
    event = encode(TokenBatch(step=0, text=CHUNK, offset=len(text), count=1), task_id="t1", attempt=1)
    work.store.command("XADD", KEY, f"{attempt.epoch}-*", "e", event)
    return text + CHUNK


def test_a_reader_that_was_behind_gets_the_whole_text_at_once_and_goes_on(
    bridge: BridgeProcess, browser: Browser, work: Work
) -> None:
    """D34: what waits for it is dropped, but nothing of its text is lost, and nobody else waits."""
    attempt = work.claim()
    with opened(bridge, browser) as slow, browser.read() as reader:
        reader.take(2)
        text = ""
        for _ in range(20):
            text = say_more(work, attempt, text)
            assert reader.next().data["text"] == CHUNK
        work.finish(attempt, "")
        assert reader.rest()[-1].event == "done"
        frames = list(slow.frames())
    told = [frame.event for frame in frames]
    assert [event for event in told if event != "token_batch"] == ["queued", "start", "resync", "done"]
    assert text_of(frames) == text
    assert told.count("token_batch") < 20, "some batches were never sent to it"


def test_a_reader_that_was_behind_is_told_nothing_twice(
    bridge: BridgeProcess, browser: Browser, work: Work
) -> None:
    attempt = work.claim()
    with opened(bridge, browser) as slow:
        text = ""
        for _ in range(20):
            text = say_more(work, attempt, text)
        work.tasks.release(attempt, code="provider_error", message="x", retry_after_seconds=1)
        second = work.claim()
        work.say(second, "right")
        work.finish(second, "right")
        frames = list(slow.frames())
    assert text_of(frames) == "right"
    # A `resync` stands at the event that it tells of, so it may share the id of a `start`.
    ids = [tuple(map(int, str(frame.id).split("-"))) for frame in frames if frame.event != "resync"]
    assert ids == sorted(set(ids))
    assert [f.data["attempt"] for f in frames if f.event == "start"] == [1, 2]
