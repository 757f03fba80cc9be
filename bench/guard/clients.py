"""Thirty-two clients of the guard in one process, on bare sockets: each enters, leaves, and begins anew.

A client of redis-py uses more processor time than Valkey does, and would be what is measured.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.guard.requests import EPOCH_PENDING

CLIENTS = 32
RECEIVED_BYTES = 65_536
_EPOCH = b'"epoch":"'
_PENDING = EPOCH_PENDING.encode()


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client sends to enter and to leave, and how their replies begin when all is well."""

    enter: bytes
    leave: bytes
    entered: Callable[[bytes], bool]
    left: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast pairs went by: how many a second, and how long the slowest in a hundred took."""

    pairs_a_second: float
    p99_ms: float


@dataclass(slots=True)
class _Client:
    sock: socket.socket
    pair: Pair | None = None
    begun: float = 0.0
    entered: bool = False
    received: bytes = b""
    took: list[float] = field(default_factory=list)


def run(port: int, pairs: Iterator[Pair], clients: int = CLIENTS) -> Pace:
    """Let clients work off all pairs, each the next one as soon as it has left.

    Raises:
        RuntimeError: a reply is not what it must be: then nothing was measured.
    """
    poll, at_work = select.epoll(), dict(_connect(port, clients))
    begun = time.perf_counter()
    try:
        working = sum(_begin(client, pairs) for client in at_work.values())
        for number in at_work:
            poll.register(number, select.EPOLLIN)
        while working:
            for number, _ in poll.poll():
                working -= not _go_on(at_work[number], pairs)
        took = time.perf_counter() - begun
    finally:
        poll.close()
        for client in at_work.values():
            client.sock.close()
    times = sorted(each for client in at_work.values() for each in client.took)
    return Pace(len(times) / took, times[int(len(times) * 0.99)] * 1000)


def _connect(port: int, clients: int) -> Iterator[tuple[int, _Client]]:
    for _ in range(clients):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock.fileno(), _Client(sock)


def _begin(client: _Client, pairs: Iterator[Pair]) -> bool:
    """Send the next pair's first half; False when there is none."""
    client.pair = next(pairs, None)
    if client.pair is None:
        return False
    client.entered, client.begun = False, time.perf_counter()
    client.sock.sendall(client.pair.enter)
    return True


def _go_on(client: _Client, pairs: Iterator[Pair]) -> bool:
    """Take what has come, and send what follows; False when the client has nothing more to do."""
    client.received += client.sock.recv(RECEIVED_BYTES)
    if not _whole(client.received):
        return True
    reply, client.received = client.received, b""
    assert client.pair is not None
    if client.entered:
        _expect(client.pair.left(reply), reply)
        client.took.append(time.perf_counter() - client.begun)
        return _begin(client, pairs)
    _expect(client.pair.entered(reply), reply)
    client.entered = True
    at = reply.find(_EPOCH) + len(_EPOCH)
    client.sock.sendall(client.pair.leave.replace(_PENDING, reply[at : at + len(_PENDING)]))
    return True


def _whole(reply: bytes) -> bool:
    """Tell whether a reply, one line or one bulk string, is all there."""
    head, end, rest = reply.partition(b"\r\n")
    if not end:
        return False
    return head[:1] != b"$" or len(rest) >= int(head[1:]) + 2


def _expect(well: object, reply: bytes) -> None:
    if not well:
        raise RuntimeError(f"the guard answered {reply[:200].decode(errors='replace')}")
