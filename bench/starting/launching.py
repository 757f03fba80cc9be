"""A function's package, started as a platform starts it: its own `run.sh`, nothing but itself on the path.

The clock runs from the moment before the process is made to the first byte of its first answer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from devstack.valkey import free_port

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.001
STOP_SECONDS = 10.0
_QUESTION = b"GET /robots.txt HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
"""What the Functions Framework answers by itself: the function's own first request is measured apart."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A function that has answered."""

    pid: int
    port: int
    listening_ms: float
    """From the process's making to a connection that is accepted; the web server's master does that."""
    ready_ms: float
    """From the process's making to its first answer."""


def bare_python(folder: Path) -> Path:
    """Make an interpreter with nothing but the standard library, and return the folder of its `python3`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    return folder / "bin"


@contextmanager
def launched(tree: Path, python: Path, variables: Mapping[str, str], log: Path) -> Iterator[Launched]:
    """Yield a package that runs and has answered; it is ended afterwards.

    Raises:
        RuntimeError: it ended instead, or does not answer; with the end of what it said.
    """
    port = free_port()
    environment = {"PATH": f"{python}:/usr/bin:/bin", "HOME": str(log.parent), "PORT": str(port), **variables}
    with log.open("wb") as out:
        begun = time.monotonic()
        process = subprocess.Popen(
            ["/bin/sh", str(tree / "run.sh")],
            cwd="/",
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _ready(process, port, begun, log)
    finally:
        _end(process)


def _ready(process: subprocess.Popen[bytes], port: int, begun: float, log: Path) -> Launched:
    while (connection := _connected(port)) is None:
        if process.poll() is not None or time.monotonic() - begun > DEADLINE_SECONDS:
            raise RuntimeError(f"it does not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL_SECONDS)
    listening_ms = (time.monotonic() - begun) * 1000
    with connection:
        connection.settimeout(DEADLINE_SECONDS)
        connection.sendall(_QUESTION)
        if not connection.recv(1):
            raise RuntimeError(f"it closes its first connection:\n{log.read_text(errors='replace')[-2000:]}")
    return Launched(process.pid, port, listening_ms, (time.monotonic() - begun) * 1000)


def _connected(port: int) -> socket.socket | None:
    connection = socket.socket()
    if (
        connection.connect_ex(("127.0.0.1", port)) == 0
        and connection.getsockname() != connection.getpeername()
    ):
        return connection
    connection.close()
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):  # also a worker that outlived its server
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
