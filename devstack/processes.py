"""One function as a process: started from its bundle, watched until it listens, ended with all its children.

The Functions Framework runs a web server with a worker of its own below it, so each function gets a
session: a signal to its group reaches all of it, and a Ctrl-C at the terminal reaches none of it, so that
the stack ends in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 4.0
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 2000


class StackError(Exception):
    """The dev stack cannot start."""


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on now; all are held open until all are known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class FunctionProcess:
    """The process of one function; started, killed and started again at the same address."""

    def __init__(
        self, name: str, *, bundle: Path, port: int, environment: Mapping[str, str], log_file: Path
    ) -> None:
        self.name = name
        self.port = port
        self.log_file = log_file
        self._bundle = bundle
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the server's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it listens."""
        if self.pid is not None:
            raise StackError(f"{self.name} runs already")
        command = [sys.executable, "-m", "functions_framework", "--source", str(self._bundle / "main.py")]
        command += ["--target", self.name, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own bundle
                command,
                cwd=self._bundle,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, deadline: float) -> None:
        """Return when the function listens: it does so only after its `main.py` has been imported.

        Args:
            deadline: on `time.monotonic`'s clock.

        Raises:
            StackError: it ended instead, or the deadline passed; with the end of its log.
        """
        while not self._listens():
            if self.pid is None:
                raise StackError(f"{self.name} ended at its start:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} does not listen on port {self.port}:\n{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End the process and its workers at once, as a lost machine would (`kill -9`)."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        # A worker dies a moment after its server, and holds the listening socket until then: whoever starts
        # the function again would take that socket for the new server's.
        deadline = time.monotonic() + STOP_SECONDS
        while self._listens() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def freeze(self) -> None:
        """Let the process fall silent with all its connections open, as a paused machine does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was."""
        self._signal(signal.SIGCONT)

    def request_stop(self) -> None:
        """Ask the process to end; `wait_stopped` sees to it that it does."""
        self._signal(signal.SIGTERM)

    def wait_stopped(self, deadline: float) -> None:
        """Return when the process has ended, by force after `deadline` (of `time.monotonic`)."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        # Also when the server itself has ended: a worker that outlived it is still in its group.
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def _log_tail(self) -> str:
        return self.log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
