"""The emulated Google Cloud of a folder: found again, started when it does not run, spoken with, ended.

    folder/unpacked/   what revisions run from;  folder/logs/  what they say

What was deployed is in the process's memory, and gone with it. How it runs: `devstack.clouds.background`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

from devstack.clouds.background import Background
from devstack.clouds.gcp.gateway.transport import GatewayTransport

BACKGROUND = Background("devstack.clouds.gcp", "Google Cloud")


@dataclass(frozen=True, slots=True)
class Emulated:
    """An emulated Google Cloud that runs."""

    folder: Path
    port: int
    pid: int

    @property
    def host(self) -> str:
        """Return where its APIs are."""
        return f"127.0.0.1:{self.port}"

    def transport(self) -> httpx.BaseTransport:
        """Return a transport that leads services' addresses to it, others where they belong."""
        return GatewayTransport(self.port)


def open_emulated(folder: Path) -> Emulated:
    """Return the emulated Google Cloud of a folder; it is started if it does not run.

    Raises:
        EmulatorError: it does not start; with the end of its log.
    """
    folder = folder.resolve()
    return Emulated(folder, **BACKGROUND.open(folder))


def shut_down(folder: Path) -> None:
    """End the emulator of a folder, with all services that it runs; one that does not run is no error."""
    BACKGROUND.shut_down(folder)
