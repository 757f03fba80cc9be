"""An emulated cloud as a process that outlives commands: found again, started when it does not run, ended.

    folder/emulator.json   where it listens: written when all of it does, removed at its end
    folder/running.lock    held by the process for as long as it lives
    folder/emulator.log    what it says

The process is nobody's child: it outlives the command that started it, and ends when its folder is removed,
when nobody has called it for an hour, or by `shut_down`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment.errors import DeployError
from deployment.providers.local.guard import Guard

ROOT = Path(__file__).resolve().parents[2]
PLACE = "emulator.json"
SERVICES = "services"
"""The folder of what the functions reach besides their cloud."""
START_SECONDS = 60.0
STOP_SECONDS = 30.0
IDLE_SECONDS = 3600.0
_POLL_SECONDS = 0.05
_LOOK_SECONDS = 0.5
_LOG_TAIL_BYTES = 2000


class EmulatorError(DeployError):
    """An emulated cloud does not start or does not end."""


@dataclass(frozen=True, slots=True)
class Background:
    """One kind of emulator, by the module that runs it."""

    module: str
    """`python -m <module> --state FOLDER` runs it."""
    cloud: str
    """How people call it: `AWS`."""

    def open(self, folder: Path) -> Mapping[str, Any]:
        """Return where the emulator of a folder is; it is started if it does not run.

        Raises:
            EmulatorError: it does not start; with the end of its log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            place = find(folder)
            if place is None:
                self._launch(folder)
                place = self._await_start(folder)
        return place

    def shut_down(self, folder: Path) -> None:
        """End the emulator of a folder, with all functions that it runs; none is no error."""
        folder = folder.resolve()
        if not folder.is_dir():
            return
        with _alone(folder):
            place = find(folder)
            if place is None:
                return
            deadline = time.monotonic() + STOP_SECONDS
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(place["pid"]), number)
                while _runs(folder) and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
                if not _runs(folder):
                    return
                deadline = time.monotonic() + STOP_SECONDS
        raise EmulatorError(f"The emulated {self.cloud} (process {place['pid']}) does not end.")

    def run(self, description: str, serve: Callable[[Path, threading.Event, float], None]) -> int:
        """Be the emulator of the folder that the command line names; returns the exit status.

        Args:
            description: for `--help`.
            serve: called with the folder, what is set when it is to end, and after how many seconds without
                a call it is to end as well.
        """
        arguments = self._parser(description).parse_args()
        folder = Path(arguments.state).resolve()
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._holding(folder):
                serve(folder, ended, arguments.idle_seconds)
        except EmulatorError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        return 0

    @contextlib.contextmanager
    def _holding(self, folder: Path) -> Iterator[None]:
        """Be the folder's one emulator.

        Raises:
            EmulatorError: another process is.
        """
        with (folder / "running.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EmulatorError(f"An emulated {self.cloud} runs already in {folder}.") from error
            yield

    def _launch(self, folder: Path) -> None:
        """Start the emulator as nobody's child: the shell ends at once and leaves it alone."""
        command = [sys.executable, "-m", self.module, "--state", str(folder)]
        log = folder / "emulator.log"
        subprocess.run(  # noqa: S603  # our own interpreter and module
            ["/bin/sh", "-c", 'log="$1"; shift; "$@" >"$log" 2>&1 </dev/null &', "sh", str(log), *command],
            cwd=ROOT,
            start_new_session=True,
            check=True,
        )

    def _await_start(self, folder: Path) -> Mapping[str, Any]:
        deadline = time.monotonic() + START_SECONDS
        log = folder / "emulator.log"
        while time.monotonic() < deadline:
            place = find(folder)
            if place is not None:
                return place
            if log.exists() and b"Error" in log.read_bytes():
                break
            time.sleep(_POLL_SECONDS)
        said = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace") if log.exists() else ""
        raise EmulatorError(f"The emulated {self.cloud} does not start in {folder}:\n{said.strip()}")

    def _parser(self, description: str) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=description)
        parser.add_argument(
            "--state", required=True, metavar="FOLDER", help="where it keeps its state and its logs"
        )
        parser.add_argument(
            "--idle-seconds",
            type=float,
            default=IDLE_SECONDS,
            help="end when nobody has called it for so long (default: %(default)s)",
        )
        return parser


def find(folder: Path) -> Mapping[str, Any] | None:
    """Return where the emulator of a folder is, None when none runs."""
    if not _runs(folder):
        return None
    try:
        place: Mapping[str, Any] = json.loads((folder / PLACE).read_bytes())
    except FileNotFoundError:
        return None
    return place


def announced_until(
    folder: Path, place: Mapping[str, Any], ended: threading.Event, is_idle: Callable[[], bool]
) -> None:
    """Tell those who look for the emulator where it is, until it is to end.

    Args:
        folder: its folder; when that is gone, so is the reason to run.
        place: what they are told, with the `pid` of this process added.
        ended: set when it is to end.
        is_idle: whether nobody has called it for too long.
    """
    partial = folder / f"{PLACE}.partial"
    partial.write_text(json.dumps({"pid": os.getpid(), **place}))
    partial.replace(folder / PLACE)
    while not ended.wait(_LOOK_SECONDS):
        if not (folder / PLACE).exists() or is_idle():
            break
    (folder / PLACE).unlink(missing_ok=True)


@contextlib.contextmanager
def surrounded(folder: Path) -> Iterator[Guard]:
    """Run Redis, QStash and the models beside an emulated cloud; gives what ends processes with this one."""
    from devstack import services  # a second of imports, which `--help` does without

    with contextlib.ExitStack() as open_:
        guard = Guard()
        open_.callback(guard.close)
        open_.enter_context(services.run(folder / SERVICES, guard.watch))
        yield guard


def _runs(folder: Path) -> bool:
    """Tell whether a process holds the folder: unlike a pid, a lock never outlives it."""
    try:
        with (folder / "running.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "starting.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
