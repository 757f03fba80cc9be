"""The emulated AWS of a folder: found again, started when it does not run, spoken with, ended.

    folder/strict.json     what the rules remember;  folder/code/  the packages;  folder/logs/  the functions'

How it runs, and what else is in the folder: `devstack.clouds.background`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

from devstack.clouds.aws.gateway.transport import GatewayTransport
from devstack.clouds.aws.sessions import MOTO_ACCOUNT, REGION, server_session
from devstack.clouds.aws.strict.books import FileState
from devstack.clouds.aws.strict.calls import Timing
from devstack.clouds.aws.strict.session import Strictness, make_strict
from devstack.clouds.background import ROOT, Background, EmulatorError
from devstack.clouds.background import find as find_any

__all__ = [
    "BACKGROUND",
    "ROOT",
    "Connection",
    "Emulated",
    "EmulatorError",
    "Place",
    "find",
    "open_emulated",
    "shut_down",
]

BACKGROUND = Background("devstack.clouds.aws", "AWS")
_TIMING = Timing(polls=1, role_calls=4, read_calls=1, poll_seconds=0.05)


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
    return Emulated(folder, Place(**BACKGROUND.open(folder)))


def find(folder: Path) -> Place | None:
    """Return where the emulator of a folder listens, None when none runs."""
    found = find_any(folder)
    return Place(**found) if found else None


def shut_down(folder: Path) -> None:
    """End the emulator of a folder, with all functions that it runs; one that does not run is no error."""
    BACKGROUND.shut_down(folder)
