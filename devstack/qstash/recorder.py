"""A destination for tests: a real HTTP server on 127.0.0.1 that records deliveries and answers as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Delivery:
    method: str
    target: str
    """Path and query as they stood on the wire."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["upstash-message-id"]

    @property
    def retried(self) -> int:
        return int(self.headers["upstash-retried"])


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Responder = Callable[[Delivery], Response]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Recorder:
    """Answers with `respond`, 200 unless told otherwise; each request in a thread of its own."""

    def __init__(self, respond: Responder | None = None) -> None:
        self.respond: Responder = respond or (lambda _: Response())
        self.deliveries: list[Delivery] = []
        self.in_flight = self.peak_in_flight = 0
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait_for(self, count: int, deadline_seconds: float = 15.0) -> list[Delivery]:
        """Return the deliveries once there are at least `count`.

        Raises:
            TimeoutError: there were not so many in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.deliveries) >= count, deadline_seconds):
                raise TimeoutError(f"{len(self.deliveries)} deliveries, not {count}")
            return list(self.deliveries)

    def record(self, delivery: Delivery) -> Response:
        """Note `delivery` and return how it is answered."""
        with self._changed:
            self.deliveries.append(delivery)
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            self._changed.notify_all()
        try:
            return self.respond(delivery)
        finally:
            with self._changed:
                self.in_flight -= 1


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = recorder.record(Delivery(self.command, self.path, headers, body))
            try:
                self._send(response)
            except ConnectionError:  # the sender's time-out was shorter than this answer took
                self.close_connection = True

        do_POST = do_GET = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815  # the library's names

        def _send(self, response: Response) -> None:
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler
