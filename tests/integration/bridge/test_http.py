"""The bridge's HTTP as proxies and old clients see it, byte by byte."""

from __future__ import annotations

import socket
from typing import Self

import httpx
import pytest

from tests.integration.bridge.kit import ORIGIN, BridgeProcess, Browser, Work


class Wire:
    """A connection on which requests are written by hand."""

    def __init__(self, bridge: BridgeProcess) -> None:
        self._socket = socket.create_connection(("127.0.0.1", bridge.port), timeout=20)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(
        self, method: str, address: str, *headers: str, version: str = "1.1"
    ) -> tuple[int, dict[str, str]]:
        target = httpx.URL(address).raw_path.decode()
        lines = [f"{method} {target} HTTP/{version}", "Host: x", *headers, "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        status = int(self._file.readline().split()[1])
        fields = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(": ")
            fields[name.lower()] = value
        return status, fields

    def chunks(self) -> bytes:
        """Read a body in chunks to its end."""
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return body

    def rest(self) -> bytes:
        return self._file.read()


def test_a_connection_serves_one_stream_after_the_other(
    bridge: BridgeProcess, browser: Browser, work: Work
) -> None:
    """HTTP/1.1 keep-alive: an ended stream, a 204, a HEAD and a preflight leave the connection usable."""
    work.tasks.cancel(work.ref)
    end = work.ids()[-1]
    with Wire(bridge) as wire:
        for _ in range(2):
            status, head = wire.ask("GET", browser.address())
            assert (status, head["transfer-encoding"]) == (200, "chunked")
            assert wire.chunks().endswith(b"\n\n")
        status, head = wire.ask("GET", browser.address(), f"Last-Event-ID: {end}")
        assert status == 204
        assert not {"content-length", "transfer-encoding", "content-type"} & head.keys()
        status, head = wire.ask("HEAD", browser.address())
        assert (status, head["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert "content-length" not in head, "a stream has none"
        preflight = ("Access-Control-Request-Method: GET", "Access-Control-Request-Headers: last-event-id")
        status, head = wire.ask("OPTIONS", browser.address(), f"Origin: {ORIGIN}", *preflight)
        assert (status, head["access-control-allow-origin"]) == (204, ORIGIN)
        assert {"content-length", "transfer-encoding"}.isdisjoint(head)
        status, _ = wire.ask("GET", browser.address())
        assert status == 200
        wire.chunks()


def test_proxies_are_told_to_pass_everything_on_at_once_and_unchanged(browser: Browser, work: Work) -> None:
    with browser.read() as reader:
        headers = reader.response.headers
        assert next(iter(reader._lines)) == ": open"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in headers
    assert "content-length" not in headers


@pytest.mark.parametrize("compression", ["gzip, br", "identity"])
def test_a_stream_is_never_compressed_since_that_would_hold_events_back(
    browser: Browser, work: Work, compression: str
) -> None:
    work.tasks.cancel(work.ref)
    answer = browser.get(headers={"Accept-Encoding": compression})
    assert "content-encoding" not in answer.headers
    assert "event: cancelled" in answer.text


def test_an_http_1_0_proxy_gets_the_whole_stream_and_its_end(
    bridge: BridgeProcess, browser: Browser, work: Work
) -> None:
    """What nginx speaks to its upstreams unless it is told otherwise."""
    work.tasks.cancel(work.ref)
    with Wire(bridge) as wire:
        status, _ = wire.ask("GET", browser.address(), version="1.0")
        assert status == 200
        assert b"event: cancelled\n" in wire.rest()
