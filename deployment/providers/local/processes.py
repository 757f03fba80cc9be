"""One function as a process: started from its bundle, watched until it listens, ended with all its children.

The Functions Framework runs a web server with a worker of its own below it, so each function gets a
session: a signal to its group reaches all of it, and a Ctrl-C at the terminal reaches none of it, so that
whoever started it can end it in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deployment.errors import ProviderError

START_SECONDS = 30.0
STOP_SECONDS = 4.0
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 2000
_SEARCHED = "/usr/bin:/bin"
# The process waits for a word before it becomes the function: whoever started it may be killed before it has
# told its guard, and then the word never comes.
_WAITING = 'read -r _ && exec /bin/sh "$0" </dev/null'


class StartFailed(ProviderError):
    """A function's process ended at its start, or does not listen."""


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on now; all are held open until all are known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def plain_environment(home: Path, threads: int) -> dict[str, str]:
    """Return what any function's process needs to run, and nothing of this process's own environment.

    Args:
        home: a folder of the process's own: its web server keeps a control socket there.
        threads: how many requests it serves at once.
    """
    return {
        "HOME": str(home),
        "PATH": _SEARCHED,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "THREADS": str(threads),
    }


class FunctionProcess:
    """The process of one function; started, killed and started again at the same address.

    Args:
        name: the function's.
        bundle: the folder of its `run.sh`, which this interpreter runs.
        port: where it listens on 127.0.0.1.
        environment: all that it finds in its environment, but for its port.
        log_file: where what it says is added.
        command: what to run in the bundle's folder in place of `run.sh`.
        guard: told each process id before the function runs, and ends it should this process be killed.
    """

    def __init__(
        self,
        name: str,
        *,
        bundle: Path,
        port: int,
        environment: Mapping[str, str],
        log_file: Path,
        command: Sequence[str] | None = None,
        guard: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.log_file = log_file
        self._bundle = bundle
        self._command = list(command or ("/bin/sh", str(bundle / "run.sh")))
        self._environment = {**environment, "PORT": str(port), "PATH": _search_path(environment)}
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the server's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def started_pid(self) -> int | None:
        """Return the process id that it was started with, also after its end."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it listens."""
        if self.pid is not None:
            raise StartFailed(f"{self.name} runs already")
        if self._guard is None:
            self._process = self._popen(self._command, subprocess.DEVNULL)
            return
        self._process = self._popen(["/bin/sh", "-c", _WAITING, self._command[-1]], subprocess.PIPE)
        self._guard(self._process.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as word:
            word.write(b"go\n")

    def wait_ready(self, deadline: float) -> None:
        """Return when the function listens: it does so only after its `main.py` has been imported.

        Args:
            deadline: on `time.monotonic`'s clock.

        Raises:
            StartFailed: it ended instead, or the deadline passed; with the end of its log.
        """
        while not self.is_ready(deadline):
            time.sleep(_POLL_SECONDS)

    def is_ready(self, deadline: float) -> bool:
        """Tell whether the function listens by now.

        Raises:
            StartFailed: it ended instead, or the deadline (of `time.monotonic`) has passed.
        """
        if self.listens():
            return True
        if self.pid is None:
            raise StartFailed(f"{self.name} ended at its start:\n{self._log_tail()}")
        if time.monotonic() > deadline:
            raise StartFailed(f"{self.name} does not listen on port {self.port}:\n{self._log_tail()}")
        return False

    def listens(self) -> bool:
        """Tell whether somebody listens at the function's port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                # Where nobody listens, the caller may be given this very port, and be connected to itself.
                return bool(connection.getsockname() != connection.getpeername())
        except OSError:
            return False

    def kill(self) -> None:
        """End the process and its workers at once, as a lost machine would (`kill -9`)."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        # A worker dies a moment after its server, and holds the listening socket until then: whoever starts
        # the function again would take that socket for the new server's.
        deadline = time.monotonic() + STOP_SECONDS
        while self.listens() and time.monotonic() < deadline:
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

    def _popen(self, command: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._bundle,
                env=self._environment,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _log_tail(self) -> str:
        return self.log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def _search_path(environment: Mapping[str, str]) -> str:
    """Return where programs are looked for: `run.sh` asks for python3, and shall find this interpreter."""
    return f"{Path(sys.executable).parent}:{environment.get('PATH', _SEARCHED)}"
