"""The stand-in's sockets: HTTP/1.1 with connections kept alive, and the faults that a test may ask for."""

from __future__ import annotations

import collections
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from devstack.upstash.api import Answer, Api, Request


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request instead of, or after, being answered."""

    kind: Literal["answer", "drop_request", "drop_answer", "silence"]
    """Answer `body`; close before running it; run it and close; say nothing until the client goes away."""
    status: int = 502
    body: bytes = b"<html>Bad Gateway</html>"


class UpstashStandIn:
    """Upstash's REST in front of a Valkey. A context manager: leaving it closes every connection.

    Attributes:
        requests: the last requests, oldest first, for tests to look at.
        faults: what is to happen to the next requests, in order.
    """

    def __init__(self, redis_url: str, *, token: str, port: int = 0) -> None:
        self.token = token
        self.api = Api(redis_url, token)
        self.requests: collections.deque[Request] = collections.deque(maxlen=1000)
        self.faults: collections.deque[Fault] = collections.deque()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self.drop_connections()
        self._server.server_close()
        self._thread.join()
        self.api.close()

    def drop_connections(self) -> None:
        """Close every open connection, as an idle time-out of a load balancer does."""
        self._server.drop_connections()

    def next_fault(self) -> Fault | None:
        try:
            return self.faults.popleft()
        except IndexError:
            return None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    """One thread a connection, and a list of connections, because ours outlive a request."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: UpstashStandIn) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client goes away; that is what clients do."""

    def drop_connections(self) -> None:
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        owner = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, self.path, headers, body)
        owner.requests.append(request)
        fault = owner.next_fault() if request.path != "/dev/meter" else None
        if fault is None:
            self._send(owner.api.answer(request))
        else:
            self._misbehave(fault, request)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _handle  # noqa: N815 - the base's names

    def _misbehave(self, fault: Fault, request: Request) -> None:
        if fault.kind == "answer":
            self._send(Answer(fault.status, fault.body))
            return
        if fault.kind == "drop_answer":
            self.server.owner.api.answer(request)
        if fault.kind == "silence":
            self.server.owner.stopping.wait()
        self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Stay quiet: tests read `requests`, not a terminal."""
