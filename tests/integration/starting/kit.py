"""What the tests of starting share: a Secrets Manager that does as it is told, and functions started by `shared.starting`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from devstack.valkey import free_port

ROOT = Path(__file__).parents[3]
VERSION = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
PLANTED = "hunter2-value"
ROLE = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hunter2-key",
    "AWS_SESSION_TOKEN": "hunter2-token",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the service."""

    status: int
    body: bytes
    raw: bool = False
    """Whether the body is all that is sent, whatever it is; then the connection is closed."""


def value(secret: str = PLANTED, version: str = VERSION) -> Reply:
    return Reply(200, json.dumps({"SecretString": secret, "VersionId": version}).encode())


def refusal(code: str, status: int = 400) -> Reply:
    document = {"__type": f"com.amazonaws.secretsmanager#{code}", "Message": f"about {PLANTED}"}
    return Reply(status, json.dumps(document).encode())


class ScriptedManager:
    """Answers GetSecretValue by a rule: the secret's id, and how often it has been asked for, decide."""

    def __init__(self, rule: Callable[[str, int], Reply]) -> None:
        self._rule = rule
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.headers: list[Mapping[str, str]] = []

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve it; yields its address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _take(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        with self._lock:
            self.asked[request["SecretId"]] += 1
            self.headers.append(headers)
            count = self.asked[request["SecretId"]]
        return self._rule(request["SecretId"], count)

    def _handler(manager) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # the handler inside has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = manager._take(body, dict(self.headers.items()))
                if reply.raw:
                    self.wfile.write(reply.body)
                    self.close_connection = True
                    return
                with contextlib.suppress(ConnectionError):  # whoever asked has had enough
                    self.send_response(reply.status)
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
                pass

        return Handler


def references(ids: Mapping[str, str], version: str = VERSION) -> str:
    """Return a `SLUICE_SECRETS` for these variables."""
    return json.dumps({variable: {"id": id_, "version": version} for variable, id_ in ids.items()})


def start(source: Path, target: str, port: int, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a function as `run.sh` does when its secrets are kept elsewhere."""
    command = [sys.executable, "-m", "shared.starting", "--source", str(source), "--target", target]
    return subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=source.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **ROLE, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@contextmanager
def running(source: Path, target: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Run a function until the block ends; yields its address once it answers."""
    port = free_port()
    process = start(source, target, port, environ)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(url, process)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline, pause = time.monotonic() + 60, threading.Event()
    while True:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{url}/robots.txt", trust_env=False)
            return
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline, "it does not answer"
        pause.wait(0.02)


def outcome(source: Path, target: str, environ: Mapping[str, str]) -> tuple[int, str]:
    """Start a function that does not come up; returns its exit status and all that it said."""
    process = start(source, target, free_port(), environ)
    try:
        said, errors = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, (said + errors).decode()
