"""The guard: a small process that ends the supervisor's children should the supervisor be killed.

It reads from a pipe which process groups are to be ended (`+123`) and which have ended (`-123`). When the
pipe ends, so has the supervisor, however it died: whatever is still noted is asked to end, and made to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path

GRACE_SECONDS = 4.0
_POLL_SECONDS = 0.05


class Guard:
    """The supervisor's end of the pipe; a guard that was itself killed is replaced."""

    def __init__(self) -> None:
        self._watched: set[int] = set()
        self._mutex = threading.Lock()
        self._process = self._start()

    def watch(self, pid: int) -> None:
        """Have the process group of `pid` ended when this process ends."""
        with self._mutex:
            self._watched.add(pid)
            self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        """Have nothing done about a process that has ended: its number may soon be somebody else's."""
        with self._mutex:
            self._watched.discard(pid)
            self._tell(f"-{pid}")

    def close(self) -> None:
        """End the guard, which ends whatever is still watched."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        try:
            self._write([line])
        except BrokenPipeError:
            self._process.wait()
            self._process = self._start()
            self._write(f"+{pid}" for pid in self._watched)

    def _write(self, lines: Iterable[str]) -> None:
        assert self._process.stdin is not None
        for line in lines:
            self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _start(self) -> subprocess.Popen[bytes]:
        # By its path, not as a module of the package: nothing that it does not need is loaded.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def watch(lines: Iterable[str]) -> None:
    """Note what is said until there is nothing more, and end what is left."""
    noted: set[int] = set()
    for line in lines:
        sign, pid = line[0], int(line[1:])
        noted.add(pid) if sign == "+" else noted.discard(pid)
    end_groups(noted)


def end_groups(groups: Collection[int], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask process groups to end, and make those that have not after a while."""
    _signal(groups, signal.SIGTERM)
    _signal(groups, signal.SIGCONT)  # what is stopped hears only then
    deadline = time.monotonic() + grace_seconds
    while (left := {group for group in groups if _lives(group)}) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal(left, signal.SIGKILL)


def _signal(groups: Collection[int], number: signal.Signals) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    watch(sys.stdin)
