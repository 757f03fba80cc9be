"""Real servers for the handlers, a QStash that only records, and a scripted model."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import flask
import httpx
from flask import Request, Response
from werkzeug.routing import Rule
from werkzeug.serving import make_server

from devstack.processes import FunctionProcess, source_command
from devstack.valkey import free_port
from shared.llm.runner import Outcome, StopSignal, TemplateCall
from shared.routing import Template

REPOSITORY = Path(__file__).parents[3]


def wait_for(condition: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """Return what `condition` returns as soon as it is true."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        pause.wait(0.005)
    return value


def plain_client(timeout_seconds: float) -> httpx.Client:
    """Return a client for plain HTTP: reading the certificates of all the world would take longer than most tests."""
    return httpx.Client(timeout=timeout_seconds, verify=False)


# -- servers ---------------------------------------------------------------------------------------------------------


@contextmanager
def serve(answer: Callable[[Request], Response]) -> Iterator[str]:
    """Serve a handler the way the Functions Framework mounts it: every path and method of one real server."""
    app = flask.Flask("served", static_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.add(Rule("/", defaults={"path": ""}, endpoint="run"))
    app.url_map.add(Rule("/<path:path>", endpoint="run"))
    app.view_functions["run"] = lambda path: answer(flask.request)
    with run_server(make_server("127.0.0.1", 0, app, threaded=True)) as url:
        yield url


@contextmanager
def run_server(server: Any) -> Iterator[str]:
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def run_function(name: str, environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run one function's `main.py` as its own process, as `functions-framework` serves it everywhere."""
    environment = {**environ, "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    source, port = REPOSITORY / "functions" / name, free_port()
    process = FunctionProcess(
        name,
        bundle=source,
        command=source_command(source, name, port),
        port=port,
        environment=environment,
        log_file=folder / f"{name}.log",
    )
    process.start()
    try:
        process.wait_ready(time.monotonic() + 30)
        yield f"http://127.0.0.1:{process.port}"
    finally:
        process.request_stop()
        process.wait_stopped(time.monotonic() + 5)


@dataclass(frozen=True, slots=True)
class Published:
    """One message, as it reached QStash."""

    destination: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def message(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def deduplication_id(self) -> str:
        return self.headers["upstash-deduplication-id"]


@dataclass(frozen=True, slots=True)
class Fault:
    """How QStash fails one publish: with a status, or without an answer; `accepted` when it has it all the same."""

    status: int | None = None
    accepted: bool = False


class RecordingQStash:
    """Takes publishes, and hands nothing on; drops a repeated deduplication id as the real one does."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.dead_letters: list[str] = []
        self.letters: dict[str, dict[str, Any]] = {}
        """Dead letters as its API shows them, oldest first."""
        self.resent: list[tuple[str, Mapping[str, str]]] = []
        """Which of them were sent again, and with which headers."""
        self.is_away = False
        """Whether its queue of dead letters answers 503."""
        self.delete_status: int | None = None
        self.requests = 0
        self.faults: deque[Fault] = deque()
        self.open_gate = threading.Event()
        self.open_gate.set()
        self._lock = threading.Lock()

    def take(self, publish: Published) -> int | None:
        """Return the status to answer with; None for no answer."""
        with self._lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else Fault(200, accepted=True)
        self.open_gate.wait(10)
        with self._lock:
            known = any(p.deduplication_id == publish.deduplication_id for p in self.published)
            if fault.accepted and not known:
                self.published.append(publish)
        return 202 if known and fault.status == 200 else fault.status

    def serve(self) -> AbstractContextManager[str]:
        qstash = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer_json(*qstash.show(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if self.path.startswith("/v2/dlq/retry/"):
                    self.answer_json(*qstash.resend(self.path.removeprefix("/v2/dlq/retry/"), headers))
                    return
                destination = self.path.removeprefix("/v2/publish/")
                status = qstash.take(Published(destination, headers, body))
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def do_DELETE(self) -> None:
                self.send_response(qstash.delete_status or qstash.bury(self.path.removeprefix("/v2/dlq/")))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def answer_json(self, status: int, body: Any) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
                pass

        return run_server(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    def give_up(self, publish: Published, *, status: int = 489, code: str = "invalid_output") -> str:
        """Make a message a dead letter, as after its last delivery; returns the letter's id."""
        return self.keep_letter(publish.destination, publish.body, status=status, code=code)

    def keep_letter(self, url: str, body: bytes, *, status: int = 500, code: str | None = None) -> str:
        number = len(self.letters) + len(self.resent) + 1
        letter_id = f"1760000000000-{number}"
        self.letters[letter_id] = {
            "messageId": f"msg_{number}",
            "dlqId": letter_id,
            "url": url,
            "body": body.decode(),
            "createdAt": 1_760_000_000_000 + number,
            "responseStatus": status,
            "responseBody": json.dumps({"error": code, "message": "a secret of the model's"}) if code else "",
        }
        return letter_id

    def show(self, path: str) -> tuple[int, Any]:
        """Answer the calls that read dead letters."""
        parts = urlsplit(path)
        if self.is_away:
            return 503, {"error": "away"}
        if parts.path == "/v2/dlq":
            query = dict(parse_qsl(parts.query))
            start, rows = int(query.get("cursor", 0)), list(self.letters.values())
            end = start + int(query["count"])
            return 200, {"messages": rows[start:end]} | ({"cursor": str(end)} if end < len(rows) else {})
        row = self.letters.get(parts.path.removeprefix("/v2/dlq/"))
        return (200, row) if row else (404, {"error": "not found"})

    def resend(self, letter_id: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        with self._lock:
            if self.letters.pop(letter_id, None) is None:
                return 404, {"error": "not found"}
            self.resent.append((letter_id, headers))
        return 201, {"messageId": "msg_again"}

    def bury(self, dead_letter: str) -> int:
        """Forget a dead letter; returns the status to answer with."""
        if self.letters.pop(dead_letter, None) is not None:
            return 200
        if dead_letter not in self.dead_letters:
            return 404
        self.dead_letters.remove(dead_letter)
        return 200


def post_raw(base_url: str, target: str, body: bytes, **headers: str) -> tuple[int, str]:
    """Post to a target exactly as it is written, which no ordinary client does; returns status and body."""
    connection = HTTPConnection(base_url.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


# -- the model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Running:
    """What a scripted act of the model may use."""

    call: TemplateCall
    stop: StopSignal
    on_text: Callable[[str], None]

    def wait_until_stopped(self) -> None:
        """Stay silent until somebody closes the call, as a hanging provider does."""
        wait_for(lambda: self.stop.error is not None)
        assert self.stop.error is not None
        raise self.stop.error


Act = Callable[[Running], Outcome]
USAGE = {
    "promptTokens": 7,
    "completionTokens": 5,
    "totalTokens": 12,
    "cost": 0.00002,
    "currency": "CNY",
    "model": "m",
}
MATCH_TEXT = "score: 81\n\n## Assessment\nYou fit 很好 🎯."
RESULTS: Mapping[Template, Mapping[str, Any]] = {
    Template.RESUME_SUMMARY: {"header": {"name": "Ada"}, "summary": "a mathematician"},
    Template.DETAILED_RESUME_SUMMARY: {"header": {"name": "Ada"}, "summary": "at length"},
    Template.JOB_VISION_SUMMARY: {"jobTitle": "Engine programmer", "extractedText": "We look for…"},
    Template.JOB_MATCH: {"text": MATCH_TEXT, "score": 81},
    Template.RESUME_CUSTOMIZE: {"suggestions": [], "resume": {"basics": {"name": "Ada"}}},
    Template.INTERVIEW_PREP: {"text": "## Say hello"},
}


def succeed(running: Running) -> Outcome:
    """Give the template's result; a streamed one word by word."""
    result = dict(RESULTS[running.call.template])
    for part in re.findall(r"\S+\s*", result["text"]) if running.call.template.streams else ():
        running.on_text(part)
    return Outcome(result=result, usage=dict(USAGE), first_token_ms=1, warnings=())


def failing(error: Exception) -> Act:
    def act(running: Running) -> Outcome:
        raise error

    return act


class ScriptedModel:
    """Stands where the runner stands: one act for each call, and `succeed` for all that follow."""

    def __init__(self) -> None:
        self.acts: deque[Act] = deque()
        self.calls: list[TemplateCall] = []

    def __call__(
        self,
        call: TemplateCall,
        *,
        provider: Any,
        stop: StopSignal,
        on_text: Callable[[str], None],
        on_thinking: Callable[[], None],
        idle_seconds: float,
    ) -> Outcome:
        self.calls.append(call)
        act = self.acts.popleft() if self.acts else succeed
        return act(Running(call, stop, on_text))
