"""Reading strangers' files in a process apart, bounded in time, memory, places and what it may say.

The process inherits nothing: no variable (so no secret), no open file, no folder. It bounds itself before it
loads a parser (`readers/child.py`), and is killed and reaped here when its time is over. Few run at once;
whoever finds no place in time is asked to come back.

A place is waited for at most `wait_seconds`, and all together takes at most `total_seconds`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from shared.actions.readers.answer import MAX_ANSWER_BYTES, Answer, Kind, Outcome
from shared.errors import ReadersBusy
from shared.logs import LogEvent, event

log = logging.getLogger(__name__)
BUSY_SHARE = 0.5
"""A reader that is killed for its time, having had the processor for less of it, was kept waiting."""
CHILD = Path(__file__).resolve().parent / "readers" / "child.py"
ENVIRONMENT = {"LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}
"""Where this interpreter's own library lies: some clouds' Python does not start without it."""


class Sandbox:
    """Runs readers, `places` at once."""

    def __init__(
        self, script: Path = CHILD, *, places: int = 2, wait_seconds: float = 2.0, total_seconds: float = 4.0
    ) -> None:
        self._script = script
        self._places = threading.BoundedSemaphore(places)
        self._wait_seconds = wait_seconds
        self._total_seconds = total_seconds

    def read(self, kind: Kind, data: bytes) -> Answer:
        """Read a file in a process of its own; a reader that dies or takes too long is an outcome.

        Raises:
            ReadersBusy: no place became free in time, or the machine was too busy to read anything.
        """
        deadline = time.monotonic() + self._total_seconds
        if not self._places.acquire(timeout=self._wait_seconds):
            raise ReadersBusy
        try:
            return self._run(kind, data, deadline)
        finally:
            self._places.release()

    def _run(self, kind: Kind, data: bytes, deadline: float) -> Answer:
        started = time.monotonic()
        with self._start(kind) as process:
            timer = threading.Timer(deadline - started, _kill, (process,))
            timer.start()
            try:
                said, computed_seconds = _converse(process, data)
            finally:
                timer.cancel()
        took_seconds = time.monotonic() - started
        answer = Answer.from_bytes(said)
        event(
            log,
            LogEvent.FILE_READ,
            kind=kind.value,
            size_bytes=len(data),
            outcome=answer.outcome.value if answer else "none",
            exit_status=process.returncode,
            run_ms=int(took_seconds * 1000),
            cpu_ms=int(computed_seconds * 1000),
        )
        if answer is not None:
            return answer
        late = process.returncode == -signal.SIGKILL and time.monotonic() >= deadline
        if late and computed_seconds < took_seconds * BUSY_SHARE:
            raise ReadersBusy  # it got no processor: the machine's fault, not the file's
        return _unanswered(process.returncode)

    def _start(self, kind: Kind) -> subprocess.Popen[bytes]:
        paths = [str(Path(path).resolve()) for path in sys.path if path]
        return subprocess.Popen(  # noqa: S603  # our own interpreter and script; the file comes on stdin
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(self._script), kind, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )


def _converse(process: subprocess.Popen[bytes], data: bytes) -> tuple[bytes, float]:
    """Hand over the file, take the answer up to its limit, and wait for the end.

    Returns:
        What it said, and how many seconds it had the processor.
    """
    with contextlib.suppress(BrokenPipeError), _pipe(process.stdin) as stdin:
        stdin.write(data)
    said = _pipe(process.stdout).read(MAX_ANSWER_BYTES + 1)
    if len(said) > MAX_ANSWER_BYTES:
        _kill(process)
        said = b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return said, usage.ru_utime + usage.ru_stime


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a reader and all that it may have started: its session is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _unanswered(exit_code: int) -> Answer:
    """Say what a death without an answer means: killed by a limit, or broken by the file."""
    limits = {-signal.SIGKILL, -signal.SIGXCPU, -signal.SIGALRM}
    return Answer(Outcome.TOO_HARD if exit_code in limits else Outcome.BROKEN)


SANDBOX = Sandbox()
"""The one of this process: its places are what bounds the function's memory."""
