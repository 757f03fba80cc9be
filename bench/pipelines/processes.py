"""The processes of a subject: each is ended by its own id; what they say goes to a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from bench.environment import ROOT
from bench.pipelines.client import Failed

START_SECONDS = 60.0
STOP_SECONDS = 8.0
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


class Child:
    """One process, of a group of its own, so that Ctrl-C in a terminal is ours to pass on."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        talks: bool = False,
    ) -> None:
        """Start it.

        Args:
            command: the program and its arguments.
            log: where its output goes; with `talks`, its errors alone.
            environment: what it gets beside what any process needs.
            talks: whether lines are exchanged with it; the end of its input then is its end.
        """
        self._command = command
        self._log = log
        self._environment = dict(environment or {})
        self._talks = talks
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with self._log.open("a") as out:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**kept, **self._environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE if self._talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._talks else out,
                stderr=out if self._talks else subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, question: str = "") -> Any:
        """Send a line, unless it is empty, and return the line that comes back, which is JSON.

        Raises:
            Failed: it ended instead.
        """
        if question:
            self._pipe(self._process.stdin).write(question + "\n")
            self._pipe(self._process.stdin).flush()
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise Failed(f"{' '.join(self._command[:4])} ended:\n{self.log_end()}")
        return json.loads(line)

    def log_end(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def kill(self) -> None:
        """End it and its children at once, as `kill -9` of a machine's out-of-memory killer does."""
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Start it again, after `kill`."""
        self._process = self._start()

    def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        if self._process.poll() is None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            else:
                self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @staticmethod
    def _pipe(stream: IO[str] | None) -> IO[str]:
        assert stream is not None, "a child that is talked to has pipes"
        return stream


def wait_listening(port: int, child: Child) -> None:
    """Return once `child` listens.

    Raises:
        Failed: it does not within START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Failed(f"nothing listens at port {port}:\n{child.log_end()}")
