"""The browsers of the benchmark: thousands of connections in one process, on bare sockets and epoll.

    python -m bench.bridge.readers PORT CHANNELS PER_CHANNEL

Prints a line once every reader has had its channel's first events, and then for every number that its input
brings, once so many batches have arrived or nothing has for some seconds: what arrived since the line before
(batches, milliseconds between a batch's writing and its arrival, ends). It ends with its input.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from array import array

from bench.bridge.channels import MARK, MARK_DIGITS, request_target

OPENED_MARK = b"event: start"
CONNECTING_AT_ONCE = 200
RECEIVED_BYTES = 65_536
OPEN_SECONDS = 120.0
PATIENCE_SECONDS = 3.0
"""What has not come when nothing has for so long is lost."""


class Readers:
    """All connections of the process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._tails: dict[int, bytes] = {}
        self._opening: dict[int, float] = {}
        self.ages_ns = array("q")
        self.opening_ms: list[float] = []
        self.ends = 0

    def open(self, targets: list[str]) -> None:
        """Open a connection for each target; returns when all have had their first events."""
        waiting, deadline = list(targets), time.monotonic() + OPEN_SECONDS
        while waiting or self._opening:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting) + len(self._opening)} readers were not served in time")
            while waiting and len(self._opening) < CONNECTING_AT_ONCE:
                self._open_one(waiting.pop())
            self.turn(1)

    def _open_one(self, target: str) -> None:
        each = socket.create_connection(("127.0.0.1", self._port))
        each.setblocking(False)
        each.send(f"GET {target} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode())
        number = each.fileno()
        self._sockets[number], self._tails[number], self._opening[number] = each, b"", time.monotonic()
        self._poll.register(number, select.EPOLLIN)

    def watch(self, number: int) -> None:
        self._poll.register(number, select.EPOLLIN)

    def turn(self, seconds: float) -> bool:
        """Read what has come; return whether a watched stranger has something to say."""
        said = False
        for number, _ in self._poll.poll(seconds):
            if number in self._sockets:
                self._read(number)
            else:
                said = True
        return said

    def _read(self, number: int) -> None:
        try:
            data = self._sockets[number].recv(RECEIVED_BYTES)
        except OSError:
            data = b""
        now_ns = time.monotonic_ns()
        if not data:
            self._end(number)
            return
        data = self._tails[number] + data
        if number in self._opening:
            self._see_opening(number, data)
        begin = 0
        while (found := data.find(MARK, begin)) >= 0 and found + len(MARK) + MARK_DIGITS <= len(data):
            begin = found + len(MARK) + MARK_DIGITS
            self.ages_ns.append(now_ns - int(data[found + len(MARK) : begin]))
        self._tails[number] = data[max(begin, len(data) - len(MARK) - MARK_DIGITS) :]

    def _see_opening(self, number: int, data: bytes) -> None:
        if OPENED_MARK in data:
            self.opening_ms.append((time.monotonic() - self._opening.pop(number)) * 1000)

    def _end(self, number: int) -> None:
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        self._opening.pop(number, None)
        self.ends += 1

    def await_batches(self, count: int) -> None:
        """Return once so many have come, or no more do."""
        heard_at, heard = time.monotonic(), len(self.ages_ns)
        while len(self.ages_ns) < count and time.monotonic() - heard_at < PATIENCE_SECONDS:
            self.turn(PATIENCE_SECONDS)
            if len(self.ages_ns) > heard:
                heard_at, heard = time.monotonic(), len(self.ages_ns)

    def report(self) -> dict[str, float]:
        """Return what has come since the last report."""
        ages, self.ages_ns = sorted(self.ages_ns), array("q")
        return {
            "cpu_seconds": time.process_time(),
            "batches": len(ages),
            "ends": self.ends,
            **_quantiles("ms", [age / 1e6 for age in ages]),
        }

    def opened(self) -> dict[str, float]:
        return {"connections": len(self._sockets), **_quantiles("open_ms", sorted(self.opening_ms))}


def _quantiles(name: str, values: list[float]) -> dict[str, float]:
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {
        f"{q}_{name}": round(values[min(len(values) - 1, int(len(values) * x))], 2)
        for q, x in at.items()
        if values
    }


def main(port: int, channels: int, per_channel: int) -> None:
    soft_and_hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft_and_hard, soft_and_hard))
    targets = [request_target(channel) for channel in range(channels)] * per_channel
    readers = Readers(port)
    readers.open(targets)
    print(json.dumps(readers.opened()), flush=True)
    readers.watch(sys.stdin.fileno())
    while True:
        if readers.turn(1):
            word = sys.stdin.readline().strip()
            if not word:
                return
            readers.await_batches(int(word))
            print(json.dumps(readers.report()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
