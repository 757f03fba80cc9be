"""Who is measured: the function `events` as it is deployed, and the bare relay, each a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.bridge.channels import SECRET
from devstack.environment import WITHOUT_FOLDER
from devstack.processes import FunctionProcess, free_ports, source_command
from devstack.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Subject:
    """A running server; `verb` is how its writer says an event."""

    name: str
    port: int
    pid: int
    verb: str


def start_bridge(stack: ExitStack, valkey: EmbeddedValkey) -> Subject:
    """Start the function `events`; it ends with the stack, and what it printed is shown then."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(WITHOUT_FOLDER), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "SLUICE_ENV": "dev",
        "REDIS_URL": valkey.url,
        "STREAM_TOKEN_SECRET": SECRET,
        "ALLOWED_ORIGINS": "*",
    }
    bundle, (port,) = ROOT / "functions/events", free_ports(1)
    process = FunctionProcess(
        "events",
        bundle=bundle,
        command=source_command(bundle, "events", port),
        port=port,
        environment=environment,
        log_file=folder / "log",
    )
    process.start()
    stack.callback(lambda: print(process.log_file.read_text(), end="", file=sys.stderr))
    stack.callback(lambda: process.wait_stopped(time.monotonic() + 10))
    stack.callback(process.request_stop)
    process.wait_ready(time.monotonic() + START_SECONDS)
    return Subject("Sluice's bridge", port, process.pid or 0, "XADD")


def start_relay(stack: ExitStack, valkey: EmbeddedValkey) -> Subject:
    """Start the bare relay, on the same server, event loop and parser; it ends with the stack."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "--factory", "bench.bridge.relay:application"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "error"]
    command += ["--timeout-graceful-shutdown", "1"]
    environment = {**os.environ, "REDIS_PORT": str(valkey.port)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    _wait_ready(port)
    return Subject("bare pub/sub relay", port, process.pid, "PUBLISH")


def _wait_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
