"""What the tests over HTTP share: the real handlers behind real servers, a QStash that only records, a scripted model.

A task's whole way is walked by hand: a frontend's request goes to `actions`, its publish is recorded, and a test
delivers it, signed, to the lane's server, as often and as late as it likes. Public URLs are names that lead nowhere:
what is signed is the configured URL, never the address a request came to.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import flask
import httpx
import jwt
from flask import Request, Response
from werkzeug.routing import Rule
from werkzeug.serving import make_server

from devstack.processes import FunctionProcess
from devstack.qstash.signing import DEV_KEYS, DEV_TOKEN, Keyring
from devstack.valkey import free_port
from shared.actions.app import Application
from shared.config import load_actions, load_lane
from shared.lanes.worker import Worker
from shared.llm.runner import Outcome, StopSignal, TemplateCall
from shared.routing import Lane, Template
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.store import Store, open_store
from shared.state.tasks import Tasks

REPOSITORY = Path(__file__).parents[3]
ACTIONS_URL = "https://actions.sluice.test"
EVENTS_URL = "https://events.sluice.test"
ORIGIN = "https://app.sluice.test"
JWT_SECRET = "a secret of users' tokens, of thirty-two bytes and more"
STREAM_SECRET = "a secret of stream tokens, of thirty-two bytes and more"
PNG = b"\x89PNG\r\n\x1a\n" + b"an image, as far as anyone looks"
RESUME = "Ada Lovelace, mathematician. Wrote the first program, for a machine that was never built."
JOB = "We look for a mathematician who can program machines that do not exist yet."


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
    process = FunctionProcess(
        name,
        bundle=REPOSITORY / "functions" / name,
        port=free_port(),
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
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                destination = self.path.removeprefix("/v2/publish/")
                status = qstash.take(Published(destination, headers, body))
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
                pass

        return run_server(ThreadingHTTPServer(("127.0.0.1", 0), Handler))


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


# -- the world -------------------------------------------------------------------------------------------------------


def lane_url(lane: Lane) -> str:
    return f"https://{lane.replace('_', '-')}.sluice.test"


def user_token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + 600}, JWT_SECRET, algorithm="HS256")


def sign(url: str, body: bytes) -> str:
    return Keyring(DEV_KEYS, random.Random()).sign(url, body, now_seconds=time.time())


class World:
    """`actions` and the five lanes on one Redis, each served when it is first needed.

    Args:
        environ: variables that differ from the defaults: limits and durations.
    """

    def __init__(self, redis_url: str, blobs: Path, environ: Mapping[str, str] | None = None) -> None:
        self.blobs = blobs
        self.environ = {
            "SLUICE_ENV": "dev",
            "REDIS_URL": redis_url,
            "QSTASH_CURRENT_SIGNING_KEY": DEV_KEYS.current,
            "QSTASH_NEXT_SIGNING_KEY": DEV_KEYS.next,
            "QSTASH_TOKEN": DEV_TOKEN,
            "AUTH_JWT_SECRET": JWT_SECRET,
            "STREAM_TOKEN_SECRET": STREAM_SECRET,
            "ALLOWED_ORIGINS": ORIGIN,
            "BLOB_URL": blobs.as_uri(),
            "ACTIONS_URL": ACTIONS_URL,
            "EVENTS_URL": EVENTS_URL,
            "DEEPSEEK_API_KEY": "unused",
            "GLM_API_KEY": "unused",
            "STREAM_FLUSH_INTERVAL_MS": "5",
            **{lane.url_variable: lane_url(lane) for lane in Lane},
            **(environ or {}),
        }
        self.qstash = RecordingQStash()
        self.model = ScriptedModel()
        self._open = ExitStack()
        self._lanes: dict[Lane, str] = {}
        self.http = self._open.enter_context(plain_client(30))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.qstash.open_gate.set()
        self._open.close()

    def change(self, **environ: str) -> None:
        """Change the configuration of whatever is started from now on."""
        self.environ.update(environ)

    @cached_property
    def application(self) -> Application:
        qstash_url = self._open.enter_context(self.qstash.serve())
        settings = load_actions({"QSTASH_URL": qstash_url, **self.environ})
        impatient = plain_client(1)
        application = Application(settings, qstash_client=self._open.enter_context(impatient))
        self._open.callback(application.store.close)
        return application

    @cached_property
    def actions_url(self) -> str:
        return self._open.enter_context(serve(self.application.answer))

    def worker_url(self, lane: Lane) -> str:
        if lane not in self._lanes:
            settings = load_lane(lane, {**self.environ, "ROUTE_URL": lane_url(lane)})
            worker = Worker(settings, run=self.model)
            self._open.callback(worker.store.close)
            self._lanes[lane] = self._open.enter_context(serve(worker.answer))
        return self._lanes[lane]

    @cached_property
    def store(self) -> Store:
        store = open_store(load_lane(Lane.PAID_STREAM, {**self.environ, "ROUTE_URL": "http://x"}).redis)
        self._open.callback(store.close)
        return store

    @property
    def tasks(self) -> Tasks:
        return self.application.tasks

    # -- as a frontend -----------------------------------------------------------------------------------------------

    def ask(
        self, action: str, body: Any, *, user: str = "ada", key: str | None = None, **headers: str
    ) -> httpx.Response:
        """Call an action."""
        sent = {"Authorization": f"Bearer {user_token(user)}", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        return self.http.post(f"{self.actions_url}/actions/{action}", json=body, headers=sent)

    def get(self, path: str, *, user: str = "ada", **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {user_token(user)}", **headers}
        return self.http.get(self.actions_url + path, headers=sent)

    def cancel(self, task_id: str, *, user: str = "ada") -> httpx.Response:
        return self.http.post(
            f"{self.actions_url}/tasks/{task_id}/cancel",
            headers={"Authorization": f"Bearer {user_token(user)}"},
        )

    def balance(self, user: str = "ada") -> int:
        return int(self.get("/quota", user=user).json()["balance"])

    # -- as QStash ---------------------------------------------------------------------------------------------------

    def deliver(self, publish: Published, **headers: str) -> httpx.Response:
        """Deliver a message to its destination, signed for it."""
        lane, path = lane_and_path(publish.destination)
        sent = {
            "Upstash-Signature": sign(publish.destination, publish.body),
            "Content-Type": "application/json",
        }
        return self.http.post(self.worker_url(lane) + path, content=publish.body, headers={**sent, **headers})

    def call_back(self, name: str, body: bytes = b"{}", **headers: str) -> httpx.Response:
        """Call one of the callbacks, signed for its URL."""
        sent = {"Upstash-Signature": sign(f"{ACTIONS_URL}/callbacks/{name}", body)}
        return self.http.post(
            f"{self.actions_url}/callbacks/{name}", content=body, headers={**sent, **headers}
        )

    def report(
        self, name: str, publish: Published, *, status: int = 200, message_id: str = "msg_1"
    ) -> httpx.Response:
        """Report a delivery's answer to a callback, as QStash does."""
        return self.call_back(name, callback_body(publish, status=status, message_id=message_id))

    # -- ready-made ----------------------------------------------------------------------------------------------------

    def start(
        self, action: str = "upload-resume", body: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], Published]:
        """Have a task accepted; returns the answer and what was published."""
        response = self.ask(action, body or {"text": RESUME}, **kwargs)
        assert response.status_code == 202, response.text
        return response.json(), self.qstash.published[-1]

    def finish(self, publish: Published) -> None:
        answer = self.deliver(publish)
        assert (answer.status_code, answer.json()) == (200, {"status": "done"})

    def with_resume(self, user: str = "ada") -> None:
        """Give the user a summarised résumé."""
        self.finish(self.start(user=user)[1])

    def with_match(self, user: str = "ada") -> str:
        """Give the user a résumé and a matched service; returns the service's id."""
        self.with_resume(user)
        accepted, publish = self.start("create-service", {"jobText": JOB}, user=user)
        self.finish(publish)
        return str(accepted["serviceId"])

    # -- what is there -------------------------------------------------------------------------------------------------

    def record(self, task_id: str) -> dict[str, Any]:
        record = self.tasks.read(task_id)
        assert record is not None
        return record

    def events(self, task_id: str) -> list[dict[str, Any]]:
        """Return a task's events, oldest first."""
        record = self.record(task_id)
        key = keys.events(record["userId"], record["serviceId"], task_id)
        return [json.loads(fields[1]) for _, fields in self.store.command("XRANGE", key, "-", "+")]

    def event_types(self, task_id: str) -> list[str]:
        return [event["type"] for event in self.events(task_id)]

    def text(self, task_id: str) -> str:
        """Return the text that a reader of the stream has at the end."""
        text = ""
        for event in self.events(task_id):
            if event["type"] == "start":
                text = ""
            if event["type"] == "token_batch":
                text += event["text"]
        return text

    def slot_holders(self) -> int:
        return sum(
            int(self.store.command("ZCARD", key)) for key in self.store.command("KEYS", "lock:model:*")
        )

    def places(self) -> int:
        return sum(int(self.store.command("ZCARD", keys.queue(lane))) for lane in Lane)

    def dump(self) -> dict[str, Any]:
        """Return all that Redis holds."""
        readers: Mapping[str, Callable[[str], Any]] = {
            "string": lambda key: self.store.command("GET", key),
            "hash": lambda key: sorted(pairs(self.store.command("HGETALL", key))),
            "list": lambda key: self.store.command("LRANGE", key, 0, -1),
            "set": lambda key: sorted(self.store.command("SMEMBERS", key)),
            "zset": lambda key: self.store.command("ZRANGE", key, 0, -1, "WITHSCORES"),
            "stream": lambda key: self.store.command("XRANGE", key, "-", "+"),
        }
        return {
            key: readers[self.store.command("TYPE", key)](key)
            for key in sorted(self.store.command("KEYS", "*"))
        }

    # -- hands that move time --------------------------------------------------------------------------------------------

    def make_overdue(self, task_id: str) -> None:
        self.store.command("ZADD", keys.OPEN_TASKS, 1, task_id)

    def lapse_lease(self, task_id: str) -> None:
        """Let the lease of a running attempt end, as when its worker was killed a while ago."""
        record = self.record(task_id)
        step = json.loads(record["steps"])[int(record["step"])]
        seconds, micros = self.store.command("TIME")
        lapsed_ms = int(seconds) * 1000 + int(micros) // 1000 - 1
        self.store.command(
            "ZADD", f"lock:model:{step['modelId']}:{record['tier']}", lapsed_ms, record["holder"]
        )

    def claim(self, publish: Published) -> Any:
        """Claim a message's step as a worker that then says nothing more."""
        worker_tasks, message = self.tasks, publish.message
        from shared.state.tasks import Step  # what a message says of its step, and no more

        at = Step.from_record({**message, "maxWaitMs": 0})
        ref = TaskRef(message["taskId"], message["serviceId"], message["userId"])
        return worker_tasks.claim(ref, step=message["step"], at=at, tier=message["tier"], nonce="silent")


def pairs(flat: Any) -> Sequence[tuple[str, str]]:
    return list(flat.items()) if isinstance(flat, dict) else list(zip(flat[::2], flat[1::2], strict=True))


def lane_and_path(destination: str) -> tuple[Lane, str]:
    for lane in Lane:
        if destination.startswith(lane_url(lane) + "/"):
            return lane, destination.removeprefix(lane_url(lane))
    raise AssertionError(f"nobody serves {destination}")


def changed(publish: Published, **fields: Any) -> Published:
    """Return a message with some of its fields changed."""
    return replace(publish, body=json.dumps({**publish.message, **fields}).encode())


def callback_body(publish: Published, *, status: int = 200, message_id: str = "msg_1") -> bytes:
    return json.dumps(
        {
            "status": status,
            "header": {},
            "body": base64.b64encode(b"{}").decode(),
            "retried": 0,
            "maxRetries": 3,
            "sourceMessageId": message_id,
            "url": publish.destination,
            "method": "POST",
            "sourceHeader": {},
            "sourceBody": base64.b64encode(publish.body).decode(),
            "createdAt": 1,
        }
    ).encode()


def data_url(data: bytes = PNG, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
