"""A front: requests arrive as they were sent, answers as they are made, each led to a revision by its weight."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deployment.providers.local.front import Front, Receive, Scope, Send, Weights
from devstack.serving import AppServer
from devstack.valkey import free_port
from tests.integration.http.stand_ins import plain_client, wait_for

App = Callable[[Scope, Receive, Send], Awaitable[None]]
PATIENCE_SECONDS = 30.0


@dataclass(eq=False)
class Upstream:
    """A revision that listens; as much of an instance as a front sees."""

    port: int | None
    timeout_seconds: float = 60.0
    in_flight: int = 0


class Place:
    """A front at an address, and servers behind it."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self.front = Front("paid_stream")
        server = opened.enter_context(AppServer(self.front, name="front"))
        self.port, self.url = server.port, server.origin

    def serve(self, app: App, *, timeout_seconds: float = 60.0) -> Upstream:
        server = self._opened.enter_context(AppServer(app, name="upstream"))
        return Upstream(server.port, timeout_seconds)

    def lead_to(self, app: App, *, timeout_seconds: float = 60.0) -> Upstream:
        upstream = self.serve(app, timeout_seconds=timeout_seconds)
        self.front.weights.set({upstream: 100})
        return upstream


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as opened:
        yield Place(opened)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with plain_client(PATIENCE_SECONDS) as opened:
        yield opened


async def answer(send: Send, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read(receive)
    seen = {
        "method": scope["method"],
        "path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        "body": body.decode(),
    }
    await answer(send, json.dumps(seen).encode(), 200, (b"x-twice", b"1"), (b"x-twice", b"2"))


def says(text: bytes) -> App:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await answer(send, text)

    return app


# -- as it was sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/paid/stream/job_match", "//paid//stream", "/a%2Fb%20c/%E4%BD%A0", "/x?token=a%2Bb&empty="],
)
def test_the_request_target_arrives_byte_for_byte(place: Place, target: str) -> None:
    place.lead_to(echo)
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=PATIENCE_SECONDS)
    connection.putrequest("GET", target, skip_accept_encoding=True)
    connection.endheaders()
    seen = json.loads(connection.getresponse().read())
    connection.close()
    path, _, query = target.partition("?")
    assert (seen["path"], seen["query"]) == (path, query)


@pytest.mark.parametrize("chunked", [False, True])
def test_method_headers_and_body_arrive_as_they_were_sent_and_the_answer_comes_back_as_it_was_made(
    place: Place, client: httpx.Client, chunked: bool
) -> None:
    upstream = place.lead_to(echo)
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("Upstash-Signature", "a.b.c"), ("Host", "sluice.example")]
    content: Any = iter([b"one", b"two"]) if chunked else b"onetwo"
    response = client.post(place.url, headers=headers, content=content)
    seen = response.json()
    arrived = [(name, value) for name, value in seen["headers"]]
    assert (seen["method"], seen["body"]) == ("POST", "onetwo")
    assert [value for name, value in arrived if name == "x-twice"] == ["1", "2"]
    assert {("upstash-signature", "a.b.c"), ("host", "sluice.example")} <= set(arrived)
    assert response.headers.get_list("x-twice") == ["1", "2"]
    wait_for(lambda: upstream.in_flight == 0)


def test_nothing_of_the_fronts_own_is_added_to_a_request(place: Place) -> None:
    place.lead_to(echo)
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=PATIENCE_SECONDS)
    connection.putrequest("GET", "/", skip_accept_encoding=True, skip_host=True)
    connection.putheader("Host", "sluice.example")
    connection.endheaders()
    seen = json.loads(connection.getresponse().read())
    connection.close()
    assert seen["headers"] == [["host", "sluice.example"]]


# -- as it is made -----------------------------------------------------------------------------------------------------


def test_an_event_stream_reaches_its_reader_piece_by_piece(place: Place, client: httpx.Client) -> None:
    """The second piece is made only once the reader has the first: who buffers never gets there."""
    has_read = threading.Event()

    async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
        assert await asyncio.to_thread(has_read.wait, PATIENCE_SECONDS)
        await send({"type": "http.response.body", "body": b"data: two\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    place.lead_to(stream)
    with client.stream("GET", place.url) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"data: one\n\n"
        has_read.set()
        assert b"".join(pieces) == b"data: two\n\n"


def test_a_body_reaches_the_function_piece_by_piece(place: Place, client: httpx.Client) -> None:
    has_read = threading.Event()

    async def reader(_scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"one"
        has_read.set()
        await answer(send, await read(receive))

    def pieces() -> Iterator[bytes]:
        yield b"one"
        assert has_read.wait(PATIENCE_SECONDS)
        yield b"two"

    place.lead_to(reader)
    assert client.post(place.url, content=pieces()).content == b"two"


def test_a_large_answer_is_whole(place: Place, client: httpx.Client) -> None:
    text = b"0123456789abcdef" * 500_000
    place.lead_to(says(text))
    assert client.get(place.url).content == text


# -- by weight ---------------------------------------------------------------------------------------------------------


def test_each_request_of_one_connection_is_led_by_the_weights(place: Place, client: httpx.Client) -> None:
    new, old = place.serve(says(b"new")), place.serve(says(b"old"))
    place.front.weights.set({new: 10, old: 90})
    led = Counter(client.get(place.url).text for _ in range(20))
    assert led == {"new": 2, "old": 18}


def test_a_share_is_mixed_evenly_and_not_given_out_in_one_go() -> None:
    weights = Weights()
    weights.set({"a": 50, "b": 50})
    assert [weights.next() for _ in range(4)] == ["a", "b", "a", "b"]
    weights.set({"a": 50, "b": 50})  # the same again starts nothing anew
    assert weights.next() == "a"
    weights.set({})
    assert weights.next() is None


def test_a_request_that_is_under_way_ends_where_it_began(place: Place, client: httpx.Client) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        arrived.set()
        assert await asyncio.to_thread(go_on.wait, PATIENCE_SECONDS)
        await answer(send, b"old")

    old = place.lead_to(slow)
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(client.get(place.url).text))
    waiting.start()
    assert arrived.wait(PATIENCE_SECONDS)
    assert old.in_flight == 1
    place.lead_to(says(b"new"))
    with plain_client(PATIENCE_SECONDS) as other:
        assert other.get(place.url).text == "new"
    go_on.set()
    waiting.join(PATIENCE_SECONDS)
    assert answers == ["old"]
    wait_for(lambda: old.in_flight == 0)


# -- refused and lost --------------------------------------------------------------------------------------------------


def test_a_stopped_function_refuses_and_says_when_to_come_back(place: Place, client: httpx.Client) -> None:
    place.lead_to(says(b"never"))
    place.front.stopped = True
    response = client.get(place.url)
    assert (response.status_code, response.json()["error"]) == (503, "stopped")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("starting", [True, False])
def test_a_function_that_does_not_listen_is_unavailable_for_a_moment(
    place: Place, client: httpx.Client, starting: bool
) -> None:
    upstream = Upstream(None if starting else free_port())
    place.front.weights.set({upstream: 100})
    response = client.post(place.url, content=b"{}")
    assert (response.status_code, response.json()["error"]) == (503, "unavailable")
    assert response.headers["Retry-After"] == "1"
    wait_for(lambda: upstream.in_flight == 0)


def test_before_the_first_release_nobody_answers(place: Place, client: httpx.Client) -> None:
    assert client.get(place.url).status_code == 503


def test_a_function_that_ends_before_it_answers_is_a_bad_gateway(place: Place, client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(65_536)
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        place.front.weights.set({Upstream(listener.getsockname()[1]): 100})
        response = client.get(place.url)
    assert (response.status_code, response.json()["error"]) == (502, "bad_gateway")


async def breaks_off(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    raise ConnectionAbortedError


async def falls_silent(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    await asyncio.Event().wait()


@pytest.mark.parametrize(("app", "timeout_seconds"), [(breaks_off, 60.0), (falls_silent, 0.3)])
def test_a_part_of_an_answer_is_never_taken_for_the_whole(
    place: Place, client: httpx.Client, app: App, timeout_seconds: float
) -> None:
    upstream = place.lead_to(app, timeout_seconds=timeout_seconds)
    with pytest.raises(httpx.RemoteProtocolError), client.stream("GET", place.url) as response:
        response.read()
    wait_for(lambda: upstream.in_flight == 0)


def test_a_function_that_takes_longer_than_its_time_out_is_ended(place: Place, client: httpx.Client) -> None:
    async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    place.lead_to(silent, timeout_seconds=0.2)
    response = client.get(place.url)
    assert (response.status_code, response.json()["error"]) == (504, "timeout")


def test_a_function_learns_that_its_caller_has_hung_up(place: Place, client: httpx.Client) -> None:
    hung_up = threading.Event()

    async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        hung_up.set()

    upstream = place.lead_to(stream)
    with client.stream("GET", place.url) as response:
        assert next(response.iter_raw()) == b"one"
    assert hung_up.wait(PATIENCE_SECONDS)
    wait_for(lambda: upstream.in_flight == 0)
