"""Finding the supervisor of an environment, starting it, and ending it.

A supervisor that lives holds a lock, which the system gives back however it ends: a file that names one
proves nothing, neither that it lives nor that the process of that number is it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from deployment.bundles.exclusion import exclusive
from deployment.catalogue import ROOT
from deployment.errors import ProviderError
from deployment.providers.local.control import Commands, Endpoint
from deployment.providers.local.layout import Layout
from deployment.providers.local.private_files import make_private

START_SECONDS = 90.0
END_SECONDS = 30.0
_POLL_SECONDS = 0.05
_TAIL_LINES = 20
_DETACHED = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
_HANDED_ON = ("HOME", "PATH", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Supervision:
    """The supervisor of one environment, seen from a command."""

    layout: Layout
    services: str | None
    """The module that stands in for the world around the environment."""

    def running(self) -> Commands | None:
        """Return how to talk to the supervisor; None when none runs, or none answers."""
        endpoint = Endpoint.read(self.layout.endpoint)
        if endpoint is None or not self._lives():
            return None
        commands = Commands(endpoint)
        return commands if commands.status() is not None else None

    def started(self) -> Commands:
        """Return how to talk to the supervisor, which is started if none runs.

        Raises:
            ProviderError: it does not start, or does not answer; with the end of its log.
        """
        found = self.running()
        if found is not None:
            return found
        # One command starts or ends at a time: a second supervisor that is slow to notice the first would
        # take over in the moment in which that one ends.
        with exclusive(make_private(self.layout.logs)):
            return self._started()

    def _started(self) -> Commands:
        pid = None if self._lives() else self._start()
        deadline = time.monotonic() + START_SECONDS
        while (found := self.running()) is None:
            if pid is not None and not _runs(pid) and not self._lives():
                raise ProviderError(f"The supervisor ended at its start:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ProviderError(f"The supervisor does not answer:\n{self._log_tail()}")
            time.sleep(_POLL_SECONDS)
        return found

    def end(self) -> None:
        """End the supervisor with everything it runs; none is no error.

        Raises:
            ProviderError: it does not end.
        """
        if not self._lives():
            return
        with exclusive(self.layout.logs):
            self._end()

    def _end(self) -> None:
        endpoint = Endpoint.read(self.layout.endpoint)
        if endpoint is not None:
            Commands(endpoint).end()
        deadline = time.monotonic() + END_SECONDS
        while self._lives():
            if time.monotonic() > deadline:
                self._kill(endpoint)
                return
            time.sleep(_POLL_SECONDS)

    def _lives(self) -> bool:
        try:
            with self.layout.supervisor_lock.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def _start(self) -> int:
        """Start the supervisor as nobody's child: it outlives the command, and nobody waits for its end."""
        command = [sys.executable, "-m", "deployment.providers.local", str(self.layout.folder.resolve())]
        started = subprocess.run(
            ["/bin/sh", "-c", _DETACHED, str(self.layout.supervisor_log.resolve()), *command]
            + ([self.services] if self.services else []),
            cwd=ROOT,
            env={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            stdout=subprocess.PIPE,
            start_new_session=True,
            check=True,
        )
        return int(started.stdout)

    def _kill(self, endpoint: Endpoint | None) -> None:
        """Kill a supervisor that hangs: it holds the lock, so the process of that number is it."""
        if endpoint is None:
            raise ProviderError(f"The supervisor does not end; look into {self.layout.supervisor_log}.")
        os.kill(endpoint.pid, signal.SIGKILL)

    def _log_tail(self) -> str:
        lines = self.layout.supervisor_log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
