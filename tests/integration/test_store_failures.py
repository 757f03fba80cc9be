"""A store that does not answer says so in time and does nothing weaker instead (D9)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from devstack.upstash.server import Fault, UpstashStandIn
from devstack.valkey import EmbeddedValkey, free_port
from shared.errors import StoreUnavailable
from shared.state.scripts import Script
from shared.state.store import CommandRefused, RestStore, Store, TcpStore

Open = Callable[[int, float], Store]
"""Opens a store at a port, with a time-out in seconds for the answer."""


def _tcp(port: int, answer_timeout_seconds: float) -> Store:
    return TcpStore(f"redis://127.0.0.1:{port}/0", answer_timeout_seconds=answer_timeout_seconds)


def _rest(port: int, answer_timeout_seconds: float) -> Store:
    return RestStore(
        f"http://127.0.0.1:{port}", "secret-token", answer_timeout_seconds=answer_timeout_seconds
    )


@pytest.fixture(params=[_tcp, _rest], ids=["tcp", "rest"])
def open_at(request: pytest.FixtureRequest) -> Iterator[Open]:
    opened: list[Store] = []

    def open_and_remember(port: int, answer_timeout_seconds: float) -> Store:
        opened.append(request.param(port, answer_timeout_seconds))
        return opened[-1]

    yield open_and_remember
    for store in opened:
        store.close()


@pytest.fixture(params=["tcp", "rest"])
def own_store(request: pytest.FixtureRequest, own_valkey: EmbeddedValkey) -> Iterator[Store]:
    """Either store, on a server of this test alone."""
    if request.param == "tcp":
        tcp = TcpStore(own_valkey.url)
        yield tcp
        tcp.close()
        return
    with UpstashStandIn(own_valkey.url, token="t") as stand_in:
        rest = RestStore(stand_in.url, "t")
        yield rest
        rest.close()


@contextmanager
def _server(*replies: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """Serve one connection for each reply: read, send it, close; None hangs up without an answer."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            for reply in replies:
                connection, _ = listener.accept()
                with connection:
                    received.append(connection.recv(65536))
                    if reply is not None:
                        connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join()


def test_a_refused_connection_is_store_unavailable_with_a_time_to_come_back(open_at: Open) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        open_at(free_port(), 5).command("GET", "key")
    assert failure.value.retry_after_seconds is not None
    assert failure.value.__cause__ is not None


@pytest.mark.parametrize("call", ["command", "pipeline", "script"])
def test_a_server_that_never_answers_is_given_up_on_and_not_asked_twice(open_at: Open, call: str) -> None:
    calls: dict[str, Callable[[Store], object]] = {
        "command": lambda store: store.command("GET", "key"),
        "pipeline": lambda store: store.pipeline([["GET", "key"]]),
        "script": lambda store: store.script(Script("s", "return 1"), [], []),
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = open_at(listener.getsockname()[1], 0.1)
        with pytest.raises(StoreUnavailable):
            calls[call](store)
        listener.settimeout(0)
        first, _ = listener.accept()
        first.close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_over_tcp_a_call_whose_connection_broke_is_sent_once_more() -> None:
    with _server(None, b"+OK\r\n") as (port, received):
        store = _tcp(port, 5)
        assert store.command("SET", "key", "value") == "OK"
        store.close()
    assert len(received) == 2
    assert received[0] == received[1]


def test_over_tcp_a_connection_that_breaks_twice_is_store_unavailable() -> None:
    with _server(None, None) as (port, received):
        store = _tcp(port, 5)
        with pytest.raises(StoreUnavailable):
            store.command("SET", "key", "value")
        store.close()
    assert len(received) == 2


def test_over_rest_a_lost_answer_is_asked_for_again_and_redis_itself_refuses_the_double(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    """An event sent twice is stored once: its id is explicit."""
    upstash.faults.append(Fault("drop_answer"))
    with pytest.raises(CommandRefused, match="equal or smaller"):
        rest_store.command("XADD", "stream", "5-1", "e", "once")
    assert rest_store.command("XLEN", "stream") == 1


def test_over_rest_a_connection_that_breaks_twice_is_store_unavailable(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    upstash.faults.extend([Fault("drop_request")] * 2)
    with pytest.raises(StoreUnavailable):
        rest_store.command("SET", "key", "value")
    assert rest_store.command("GET", "key") is None
    assert len(upstash.requests) == 3


def test_over_rest_a_connection_that_went_stale_in_the_pool_is_not_noticed(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    rest_store.command("SET", "key", "value")
    upstash.drop_connections()
    assert rest_store.command("GET", "key") == "value"


def test_a_redis_that_was_killed_and_started_again_serves_the_next_call(
    own_store: Store, own_valkey: EmbeddedValkey
) -> None:
    own_store.command("SET", "key", "value")
    own_valkey.kill()
    with pytest.raises(StoreUnavailable):
        own_store.command("GET", "key")
    own_valkey.restart()
    assert own_store.command("GET", "key") is None


def test_a_paused_redis_is_store_unavailable_and_serves_again_afterwards(own_valkey: EmbeddedValkey) -> None:
    store = TcpStore(own_valkey.url, answer_timeout_seconds=0.1)
    store.command("SET", "key", "value")
    own_valkey.pause()
    late = threading.Timer(3, own_valkey.resume)  # redis-py's own time-out would wait for this
    late.start()
    with pytest.raises(StoreUnavailable):
        store.command("ECHO", "an answer that must not be taken for the next call's")
    late.cancel()
    own_valkey.resume()
    assert store.command("GET", "key") == "value"
    store.close()


def test_a_redis_out_of_memory_is_store_unavailable(own_store: Store) -> None:
    own_store.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="OOM"):
        own_store.command("SET", "key", "value")
    with pytest.raises(StoreUnavailable, match="OOM"):
        own_store.script(Script("set", "return redis.call('SET', KEYS[1], 'v')"), ["key"], [])


def test_a_replica_that_takes_no_writes_is_store_unavailable(own_store: Store) -> None:
    own_store.command("REPLICAOF", "127.0.0.1", free_port())
    with pytest.raises(StoreUnavailable, match="READONLY"):
        own_store.command("SET", "key", "value")


@pytest.mark.parametrize(
    "text",
    [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "BUSY Redis is busy running a script",
        "NOAUTH Authentication required.",
        "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.",
        "ERR max requests limit exceeded. Limit: 500000, Usage: 500000.",
    ],
)
def test_an_error_that_says_redis_cannot_work_now_is_store_unavailable(
    text: str, rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    upstash.faults.append(Fault("answer", 400, f'{{"error":"{text}"}}'.encode()))
    with pytest.raises(StoreUnavailable):
        rest_store.command("GET", "key")
    reply = f"-{text}\r\n".encode()
    with _server(reply, reply) as (port, received):
        store = _tcp(port, 5)
        with pytest.raises(StoreUnavailable):
            store.command("GET", "key")
        if len(received) == 1:  # redis-py tries again what it takes for a broken connection
            socket.create_connection(("127.0.0.1", port)).close()
        store.close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer", 502),
        Fault("answer", 503, b'{"error":"ERR overloaded"}'),
        Fault("answer", 429, b'{"error":"ERR too many requests"}'),
        Fault("answer", 401, b'{"error":"WRONGPASS invalid or missing auth token"}'),
        Fault("answer", 302, b""),
        Fault("answer", 200, b"<html>maintenance</html>"),
        Fault("answer", 200, b"[]"),
        Fault("answer", 200, b'{"neither": 1}'),
        Fault("answer", 200, b'{"result": {"a": 1}}'),
        Fault("answer", 200, b'{"result": "not base64"}'),
    ],
    ids=lambda fault: f"{fault.status} {fault.body[:24]!r}",
)
def test_over_rest_an_answer_that_is_not_redis_s_is_store_unavailable(
    fault: Fault, rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    upstash.faults.extend([fault] * 3)
    with pytest.raises(StoreUnavailable):
        rest_store.command("GET", "key")
    with pytest.raises(StoreUnavailable):
        rest_store.pipeline([["GET", "a"], ["GET", "b"]])
    with pytest.raises(StoreUnavailable):
        rest_store.script(Script("s", "return 1"), [], [])


def test_over_rest_a_refused_token_is_store_unavailable_and_is_not_shown(upstash: UpstashStandIn) -> None:
    store = RestStore(upstash.url, "a-wrong-token")
    for call in (lambda: store.command("GET", "k"), lambda: store.pipeline([["GET", "k"], ["GET", "k"]])):
        with pytest.raises(StoreUnavailable) as failure:
            call()
        assert "a-wrong-token" not in str(failure.value)
    store.close()


def test_over_rest_each_thread_waits_for_its_own_writes(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    """A replica that is behind makes a reader wait by the sync token; another thread's must not replace it."""
    rest_store.command("SET", "key", "value")
    other = threading.Thread(target=rest_store.command, args=("SET", "other", "value"))
    other.start()
    other.join()
    rest_store.command("GET", "key")
    assert [request.headers["upstash-sync-token"] for request in upstash.requests] == ["", "", "sync-1"]
