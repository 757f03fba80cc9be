"""A body that nobody asked for is never kept: in a function's own process, where the framework reads on by itself."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.routing import Lane, Template
from tests.integration.http.kit import ORIGIN, World, lane_url, user_token
from tests.integration.http.stand_ins import run_function

PIECE = b"x" * (1024 * 1024)
ENDLESS = 100
"""So many pieces that a body of them fits no limit; socket buffers take a few."""


@dataclass(frozen=True)
class Sent:
    """How much of a body was taken, and what was answered; None when the connection broke before."""

    pieces: int
    status: int | None

    def stopped_with(self, status: int) -> bool:
        """Return whether the body was left unread and the answer, where it came through, was this."""
        return self.pieces < ENDLESS / 2 and self.status in {status, None}


def send(url: str, method: str, path: str, pieces: int, *, chunked: bool, **headers: str) -> Sent:
    """Send a body piece by piece, for as long as it is taken."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.putrequest(method, path)
        length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(pieces * len(PIECE)))
        for name, value in (*headers.items(), length):
            connection.putheader(name, value)
        connection.endheaders()
        taken = _send_pieces(connection, pieces, chunked=chunked)
        return Sent(taken, _status(connection))
    finally:
        connection.close()


def _send_pieces(connection: http.client.HTTPConnection, pieces: int, *, chunked: bool) -> int:
    taken = 0
    try:
        while taken < pieces:
            connection.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            taken += 1
        if chunked:
            connection.send(b"0\r\n\r\n")
    except ConnectionError:
        pass
    return taken


def _status(connection: http.client.HTTPConnection) -> int | None:
    try:
        return connection.getresponse().status
    except ConnectionError:
        return None


@pytest.fixture
def actions(world: World, tmp_path: Path) -> Iterator[str]:
    with run_function("actions", {**world.environ, "QSTASH_URL": "http://127.0.0.1:1"}, tmp_path) as url:
        yield url


@pytest.fixture
def lane(world: World, tmp_path: Path) -> Iterator[str]:
    environ = {**world.environ, "ROUTE_URL": lane_url(Lane.PAID_STREAM)}
    with run_function(Lane.PAID_STREAM, environ, tmp_path) as url:
        yield url


UNREAD = [
    ("POST", "/nothing", 404),
    ("POST", "/healthz", 405),
    ("POST", "/actions/nothing", 404),
    ("POST", "/actions/upload-resume", 401),
    ("GET", "/quota", 401),
    ("DELETE", "/me", 401),
    ("OPTIONS", "/actions/upload-resume", 204),
    ("POST", "/callbacks/step", 401),
    ("POST", "/callbacks/sweep", 401),
]


def test_a_body_without_an_end_is_not_read_for_a_caller_who_proved_nothing(actions: str) -> None:
    for chunked in (True, False):
        for method, path, status in UNREAD:
            sent = send(actions, method, path, ENDLESS, chunked=chunked)
            assert sent.stopped_with(status), (method, path, chunked, sent)


def test_nor_for_a_user_where_no_body_belongs(actions: str) -> None:
    authorization = f"Bearer {user_token('ada')}"
    for method, path, status in [
        ("GET", "/quota", 200),
        ("POST", "/tasks/x/cancel", 404),
        ("DELETE", "/me", 200),
    ]:
        sent = send(actions, method, path, ENDLESS, chunked=True, Authorization=authorization)
        assert sent.stopped_with(status), (method, path, sent)


def test_nor_by_a_lane(lane: str) -> None:
    own = Lane.PAID_STREAM.path(Template.JOB_MATCH)
    for method, path, status in [("POST", "/nothing", 404), ("PUT", own, 405), ("POST", own, 413)]:
        sent = send(lane, method, path, ENDLESS, chunked=True)
        assert sent.stopped_with(status), (method, path, sent)


def test_who_sends_a_file_with_a_token_that_has_expired_is_told_so(actions: str) -> None:
    """A connection closed on a caller who is still sending looks like a broken network, in a browser."""
    for chunked in (True, False):
        sent = send(actions, "POST", "/actions/create-service", 10, chunked=chunked, Origin=ORIGIN)
        assert sent == Sent(10, 401)
