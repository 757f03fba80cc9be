"""Hundreds of readers in one thread, on bare sockets."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import httpx

from shared.routing import Lane, Template
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.store import Store
from shared.stream.events import Done, Start, TokenBatch, encode
from tests.integration.bridge.kit import Browser, Frame

_FRAME = re.compile(rb"(?:id: (\S+)\n)?event: (\S+)\ndata: (.*)\n\n")
_RETRY = re.compile(rb"retry: ([0-9]+)\n\n")


class Member:
    """One reader: what it has received so far, as it came."""

    def __init__(self, ref: TaskRef, address: httpx.URL) -> None:
        self.ref = ref
        self.received = b""
        self.ended = False
        self.socket = socket.create_connection(("127.0.0.1", address.port or 0))
        self.socket.sendall(b"GET " + address.raw_path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    def read(self) -> None:
        data = self.socket.recv(65_536)
        self.received += data
        self.ended = not data

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1])

    @property
    def frames(self) -> list[Frame]:
        """A frame is never cut in two: each of the bridge's writes is one chunk."""
        found = _FRAME.findall(self.received)
        return [Frame(event.decode(), id_.decode() or None, json.loads(data)) for id_, event, data in found]

    @property
    def retry_ms(self) -> list[int]:
        return [int(ms) for ms in _RETRY.findall(self.received)]

    @property
    def is_told_to_resume(self) -> bool:
        return len(self.retry_ms) == 1


class Crowd:
    """Readers of some channels. A context manager: leaving it closes all of their connections."""

    def __init__(self, browser: Browser, refs: Iterable[TaskRef]) -> None:
        self.members = [Member(ref, httpx.URL(browser.address(ref))) for ref in refs]
        self._poll = select.epoll()
        self._by_number = {member.socket.fileno(): member for member in self.members}
        for number in self._by_number:
            self._poll.register(number, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._poll.close()
        for member in self.members:
            member.socket.close()

    def read_until(self, condition: Callable[[Member], bool], seconds: float = 40) -> None:
        """Read until `condition` holds for every reader."""
        deadline = time.monotonic() + seconds
        waiting = {member for member in self.members if not condition(member)}
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} of {len(self.members)} wait in vain"
            for number, _ in self._poll.poll(0.2):
                member = self._by_number[number]
                member.read()
                if member.ended:
                    self._poll.unregister(number)
                if condition(member):
                    waiting.discard(member)


class Speaker:
    """Stores one task's events under the ids of an attempt, whatever limits say."""

    def __init__(self, store: Store, ref: TaskRef) -> None:
        self.ref = ref
        self.said = ""
        self._store = store
        self._key = keys.events(ref.user_id, ref.service_id, ref.task_id)
        self._epoch_ms = time.time_ns() // 1_000_000 + 1  # above the `queued` of this millisecond
        self._n = 0
        start = Start(step=0, template_id=Template.JOB_MATCH, queue_id=Lane.PAID_STREAM)
        self._add(encode(start, task_id=ref.task_id, attempt=1))

    def say(self, text: str) -> None:
        event = TokenBatch(step=0, text=text, offset=len(self.said), count=1)
        self.said += text
        self._add(encode(event, task_id=self.ref.task_id, attempt=1))

    def end(self) -> None:
        event = Done(result={"text": self.said}, usage={}, latency_ms=1, text_length=len(self.said))
        self._add(encode(event, task_id=self.ref.task_id, attempt=1))

    def _add(self, event: str) -> None:
        self._store.command("XADD", self._key, f"{self._epoch_ms}-{self._n}", "e", event)
        self._n += 1
