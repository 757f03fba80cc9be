"""The emulated AWS of a folder: found again, started when it does not run, spoken with, ended.

    folder/emulator.json   where it listens: written when all of it does, removed at its end
    folder/running.lock    held by the process for as long as it lives
    folder/emulator.log    what it says
    folder/strict.json     what the rules remember;  folder/code/  the packages;  folder/logs/  the functions'

The process is nobody's child: it outlives the command that started it, and ends when its folder is removed,
when nobody has called it for an hour, or by `shut_down`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

from deployment.errors import DeployError
from devstack.clouds.aws.gateway.transport import GatewayTransport
from devstack.clouds.aws.sessions import MOTO_ACCOUNT, REGION, server_session
from devstack.clouds.aws.strict.books import FileState
from devstack.clouds.aws.strict.calls import Timing
from devstack.clouds.aws.strict.session import Strictness, make_strict

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 60.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_TIMING = Timing(polls=1, role_calls=4, read_calls=1, poll_seconds=0.05)
_LOG_TAIL_BYTES = 2000


class EmulatorError(DeployError):
    """The emulated AWS does not start or does not end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the emulator of a folder listens."""

    pid: int
    endpoint: str
    """Of the AWS services."""
    gateway_port: int
    """Of the function URLs."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A session that speaks with the emulated AWS."""

    session: boto3.Session
    """Every client it makes is strict."""
    strict: Strictness


@dataclass(frozen=True, slots=True)
class Emulated:
    """An emulated AWS that runs."""

    folder: Path
    place: Place

    def connect(
        self, region: str = REGION, *, account: str = MOTO_ACCOUNT, timing: Timing = _TIMING
    ) -> Connection:
        """Return a new strict session, with a recorder and faults of its own.

        Args:
            region: where its clients are.
            account: whose resources they see; each account has its own.
            timing: how long things take; one for all sessions of a folder.
        """
        session = server_session(self.place.endpoint, region, account)

        def companion(service: str, wanted: str) -> Any:
            plain = server_session(self.place.endpoint, wanted, account)
            return plain.client(service)  # type: ignore[call-overload]

        strict = make_strict(
            session, FileState(self.folder), companion=companion, timing=timing, account=account
        )
        return Connection(session, strict)

    def session(self, region: str = REGION, *, account: str = MOTO_ACCOUNT) -> boto3.Session:
        """Return a strict session."""
        return self.connect(region, account=account).session

    def transport(self) -> httpx.BaseTransport:
        """Return a transport that leads function URLs to the gateway, others where they belong."""
        return GatewayTransport(self.place.gateway_port)


def open_emulated(folder: Path) -> Emulated:
    """Return the emulated AWS of a folder; it is started if it does not run.

    Raises:
        EmulatorError: it does not start; with the end of its log.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        place = find(folder)
        if place is None:
            _launch(folder)
            place = _await_start(folder)
    return Emulated(folder, place)


def find(folder: Path) -> Place | None:
    """Return where the emulator of a folder listens, None when none runs."""
    if not _runs(folder):
        return None
    try:
        return Place(**json.loads((folder / "emulator.json").read_bytes()))
    except FileNotFoundError:
        return None


def shut_down(folder: Path) -> None:
    """End the emulator of a folder, with all functions that it runs; one that does not run is no error."""
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
                os.kill(place.pid, number)
            while _runs(folder) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if not _runs(folder):
                return
            deadline = time.monotonic() + STOP_SECONDS
    raise EmulatorError(f"The emulated AWS (process {place.pid}) does not end.")


def announce(folder: Path, place: Place) -> None:
    """Tell those who look for the emulator where it listens."""
    partial = folder / "emulator.json.partial"
    partial.write_text(json.dumps(asdict(place)))
    partial.replace(folder / "emulator.json")


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Be the folder's one emulator.

    Raises:
        EmulatorError: another process is.
    """
    with (folder / "running.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EmulatorError(f"An emulated AWS runs already in {folder}.") from error
        yield


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


def _launch(folder: Path) -> None:
    """Start the emulator as nobody's child: the shell ends at once and leaves it alone."""
    command = [sys.executable, "-m", "devstack.clouds.aws", "--state", str(folder)]
    log = folder / "emulator.log"
    subprocess.run(  # noqa: S603  # our own interpreter and module
        ["/bin/sh", "-c", 'log="$1"; shift; "$@" >"$log" 2>&1 </dev/null &', "sh", str(log), *command],
        cwd=ROOT,
        start_new_session=True,
        check=True,
    )


def _await_start(folder: Path) -> Place:
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
    raise EmulatorError(f"The emulated AWS does not start in {folder}:\n{said.strip()}")
