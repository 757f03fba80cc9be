"""Small functions without a dependency, and an environment on this machine to run them in."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from deployment.environments import Environment, load_environment
from deployment.providers.local.provider import LocalProvider
from deployment.resources import Kind
from deployment.states import FunctionState, SecretPin
from tests.integration.http.stand_ins import plain_client, wait_for

PATIENCE_SECONDS = 45.0
RUN_SH = '#!/bin/sh\ncd "$(dirname "$0")"\nexec python3 -I -S main.py\n'
MAIN = """
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

go_on = threading.Event()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            os._exit(7)
        if self.path == "/slow":
            go_on.wait(60)
        if self.path == "/go":
            go_on.set()
        body = json.dumps({"pid": os.getpid(), "environment": dict(os.environ)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
BROKEN_MAIN = 'raise SystemExit("a needed variable is missing")\n'


class Place:
    """An environment in a folder, and bundles to release to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = _environment(folder)
        self.provider = self.opened_again()
        self.client: httpx.Client = plain_client(PATIENCE_SECONDS)
        self._codes = itertools.count(1)
        self._names = itertools.count(1)

    def opened_again(self) -> LocalProvider:
        """Return the environment as another command opens it."""
        return LocalProvider(self.environment, {}, self.folder / "environment")

    def close(self) -> None:
        self.provider.end()
        self.client.close()

    # -- releasing -----------------------------------------------------------------------------------------------------

    def new_function(self, secrets: tuple[str, ...] = ()) -> str:
        """Make the resources of another function and return its name."""
        name = f"function_{next(self._names)}"
        self.provider.ensure(name, Kind.IDENTITY, {"secrets": list(secrets)})
        self.provider.ensure(name, Kind.LOGS, {"file": f"{name}.log", "max_bytes": 1_000_000})
        self.provider.ensure(name, Kind.ADDRESS, {"host": "127.0.0.1", "served": True})
        return name

    def publish(
        self, name: str, *, main: str = MAIN, timeout_seconds: int = 60, **facts: Mapping[str, Any]
    ) -> str:
        """Make another revision of a function and return its fingerprint."""
        code = f"{next(self._codes):012d}"
        self.provider.upload(code, self._bundle(code, main))
        state = FunctionState(
            name=name,
            code=code,
            variables=facts.get("variables", {}),
            secrets=facts.get("secrets", {}),
            memory_mb=128,
            timeout_seconds=timeout_seconds,
            concurrency=4,
            python="3.11",
            architecture="x86_64",
        )
        self.provider.publish(state)
        assert state.fingerprint is not None
        return state.fingerprint

    def released(self, name: str | None = None, **facts: Any) -> tuple[str, str]:
        """Return a function that takes calls, and its revision."""
        name = name or self.new_function()
        fingerprint = self.publish(name, **facts)
        self.provider.shift(name, {fingerprint: 100})
        return name, fingerprint

    def put_secret(self, name: str, value: str) -> SecretPin:
        return SecretPin(name, self.provider.secrets.put(name, value, request_id=value))

    # -- looking -------------------------------------------------------------------------------------------------------

    def url(self, name: str) -> str:
        url = self.provider.observe([name]).functions[name].url
        assert url is not None
        return url

    def call(self, name: str, path: str = "/") -> httpx.Response:
        return self.client.get(self.url(name) + path)

    def pid(self, name: str) -> int:
        """Return the process that answers at a function's address, as soon as one does."""
        answered = wait_for(lambda: self._answer(name), seconds=PATIENCE_SECONDS)
        return int(answered.json()["pid"])

    def instances(self, name: str) -> dict[str, Any]:
        status = self.status()
        instances: dict[str, Any] = status[name]["instances"]
        return instances

    def status(self) -> dict[str, Any]:
        commands = self.provider.supervision.running()
        assert commands is not None
        status = commands.status()
        assert status is not None
        return status

    @property
    def supervisor_pid(self) -> int:
        commands = self.provider.supervision.running()
        assert commands is not None
        return commands.endpoint.pid

    def _answer(self, name: str) -> httpx.Response | None:
        response = self.call(name)
        return response if response.status_code == 200 else None

    def _bundle(self, code: str, main: str) -> Path:
        folder = self.folder / "bundles" / code
        folder.mkdir(parents=True)
        (folder / "run.sh").write_text(RUN_SH)
        (folder / "main.py").write_text(main)
        return folder


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def wait_gone(*pids: int) -> None:
    wait_for(lambda: not any(lives(pid) for pid in pids), seconds=PATIENCE_SECONDS)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _environment(folder: Path) -> Environment:
    file = folder / "place.toml"
    file.write_text('provider = "local"\nsluice_env = "dev"\n')
    return load_environment(str(file))
