"""One reader of Redis for everybody, whom nobody can hold up."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import httpx

from shared.state.keys import TaskRef
from shared.state.store import Store
from shared.stream.events import Event, TokenBatch, encode
from tests.integration.bridge.kit import (
    KEY,
    REF,
    BridgeProcess,
    Browser,
    Work,
    blocked_readers,
    commands_served,
    until,
)


def test_d31_one_connection_to_redis_reads_for_everybody(
    browser: Browser, store: Store, make_work: Callable[..., Work]
) -> None:
    """D31: no reader polls; all of them together wait in one blocking read."""
    refs = [TaskRef(f"t{i}", "s1", f"u{i}") for i in range(5)]
    works = [make_work(ref) for ref in refs]
    clients = [Browser(browser.url) for _ in range(10)]
    streams = [client.read(refs[i // 2]) for i, client in enumerate(clients)]
    readers = [stream.__enter__() for stream in streams]
    for reader in readers:
        assert reader.next().event == "queued"
    until(lambda: blocked_readers(store) > 0)
    store.command("CONFIG", "RESETSTAT")
    for each in works:
        each.tasks.cancel(each.ref)
    for reader in readers:
        assert [frame.event for frame in reader.rest()] == ["cancelled"]
    assert commands_served(store)["xread"] <= 2 * len(works) + 1
    for stream, client in zip(streams, clients, strict=True):
        stream.__exit__(None, None, None)
        client.http.close()


def test_a_new_reader_does_not_wait_for_the_blocked_read_to_end(
    browser: Browser, work: Work, store: Store, make_work: Callable[..., Work]
) -> None:
    """D31: it is woken for a stream that it does not list yet, though nothing happens on the others."""
    other = TaskRef("t2", "s1", "u2")
    make_work(other)
    with browser.read(other) as waiting:
        waiting.next()
        until(lambda: blocked_readers(store) > 0)
        client = Browser(browser.url)
        before = commands_served(store).get("client|unblock", 0)
        with client.read() as reader:
            reader.next()
            until(lambda: commands_served(store).get("client|unblock", 0) > before)
            work.tasks.cancel(REF)
            assert reader.next().event == "cancelled"
        client.http.close()


def test_a_reader_that_goes_away_is_followed_no_more(browser: Browser, work: Work, store: Store) -> None:
    """D31, D32: with nobody listening there are no commands."""
    with browser.read() as reader:
        reader.next()
        until(lambda: blocked_readers(store) > 0)
    until(lambda: blocked_readers(store) == 0)
    store.command("CONFIG", "RESETSTAT")
    for _ in range(20):
        assert browser.http.get("/healthz").is_success
    assert set(commands_served(store)) <= {"config|resetstat", "info"}


def test_a_broken_entry_harms_nobody(browser: Browser, work: Work, store: Store) -> None:
    attempt = work.claim()
    with browser.read() as reader:
        reader.take(2)
        for number, text in enumerate(("{", "[]", '{"type":"token_batch"}', "\n"), start=1):
            store.command("XADD", KEY, f"{attempt.epoch}-{number}", "e", text)
        store.command("XADD", KEY, f"{attempt.epoch}-8", "other", "field")
        broken_utf8 = f"return redis.call('XADD', KEYS[1], '{attempt.epoch}-9', 'e', '\\195(')"
        store.command("EVAL", broken_utf8, 1, KEY)
        work.tasks.cancel(REF)
        assert [frame.event for frame in reader.rest()] == ["cancelled"]


def test_a_reader_too_slow_is_cut_off_and_the_others_do_not_notice(
    bridge: BridgeProcess, browser: Browser, work: Work
) -> None:
    attempt = work.claim()
    address = httpx.URL(browser.address())
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", bridge.port))
    slow.sendall(b"GET " + address.raw_path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    chunk = "x" * 60_000
    with browser.read() as reader:
        assert slow.recv(10)
        reader.take(2)
        text = ""
        for _ in range(120):
            event: Event = TokenBatch(step=0, text=chunk, offset=len(text), count=1)
            work.store.command("XADD", KEY, f"{attempt.epoch}-*", "e", encode(event, task_id="t1", attempt=1))
            assert reader.next().data["text"] == chunk
            text += chunk
        work.finish(attempt, "")
        assert reader.next().event == "done"
    poll = select.poll()
    poll.register(slow, 0)
    until(lambda: poll.poll(0))
    ((_, happened),) = poll.poll(0)
    assert happened & select.POLLERR, "it has read nothing since, and must be reset all the same"
    slow.close()
