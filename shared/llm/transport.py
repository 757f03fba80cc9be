"""One connection for one call: how the SDK's HTTP client reaches a provider.

    openai ─▶ httpx2.Client ─▶ StreamTransport ─▶ http.client ─▶ socket ◀─ StopSignal

A provider sends each token as an HTTP chunk of its own, and httpx2's own transport spends as much on taking
one chunk apart (h11, in pure Python) as all the rest of the lane does on the token. The standard library does
that in a fifth of the time. Nothing is pooled: a call reads its answer up to `[DONE]` and no further, so its
connection could serve no other.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse

import httpx2

from shared.llm.stop import StopSignal

READ_BYTES = 65_536


class StreamTransport(httpx2.BaseTransport):
    """Sends requests over connections that `stop` can shut down, each closed with its answer."""

    def __init__(self, stop: StopSignal, context: ssl.SSLContext | None = None) -> None:
        self._stop = stop
        self._context = context
        self._answers: list[_Body] = []

    def close(self) -> None:
        """Close what is still open: an attempt that was stopped leaves its answer unread."""
        while self._answers:
            self._answers.pop().close()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its answer when the head is there.

        Raises:
            httpx2.TimeoutException: no connection, or no answer, within the request's time-outs.
            httpx2.TransportError: there is nobody, the connection broke off, or this is no HTTP.
        """
        timeouts = request.extensions["timeout"]
        with _told_as(httpx2.ConnectTimeout, httpx2.ConnectError, request):
            connection = self._connect(request.url, timeouts["connect"])
        try:
            with _told_as(httpx2.ReadTimeout, httpx2.ReadError, request):
                connection.sock.settimeout(timeouts["read"])
                _send(connection, request)
                answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        body = _Body(connection, answer, request)
        self._answers.append(body)
        return httpx2.Response(answer.status, headers=answer.getheaders(), stream=body)

    def _connect(self, url: httpx2.URL, timeout_seconds: float | None) -> HTTPConnection:
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        sock = socket.create_connection((url.host, port), timeout_seconds)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                context = self._context or provider_certificates()
                # The handshake comes after the socket is under the button: it can be waited for, too.
                sock = context.wrap_socket(sock, server_hostname=url.host, do_handshake_on_connect=False)
            self._stop.attach(sock)
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        connection = HTTPConnection(url.host, port)
        connection.sock = sock
        return connection


class _Body(httpx2.SyncByteStream):
    """An answer's body as it comes, a piece for each chunk."""

    def __init__(self, connection: HTTPConnection, answer: HTTPResponse, request: httpx2.Request) -> None:
        self._connection = connection
        self._answer = answer
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        with _told_as(httpx2.ReadTimeout, httpx2.ReadError, self._request):
            read = self._answer.read1
            while piece := read(READ_BYTES):
                yield piece
            if self._answer.length:  # http.client says nothing of a body that is shorter than announced
                raise HTTPException("the connection broke off")

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


@cache
def provider_certificates() -> ssl.SSLContext:
    """Read the certificates once for a process: it takes longer than a hundred requests."""
    context = httpx2.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _send(connection: HTTPConnection, request: httpx2.Request) -> None:
    target = request.url.raw_path.decode("ascii")
    connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in request.headers.raw:
        connection.putheader(name, value)
    connection.endheaders(request.read())


@contextmanager
def _told_as(
    timeout: type[httpx2.TimeoutException], broken: type[httpx2.NetworkError], request: httpx2.Request
) -> Iterator[None]:
    """Say what went wrong in the words of httpx2, which the SDK knows."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error), request=request) from error
    except OSError as error:
        raise broken(str(error), request=request) from error
    except HTTPException as error:
        raise httpx2.RemoteProtocolError(str(error), request=request) from error
