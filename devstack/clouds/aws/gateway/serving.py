"""The gateway's two servers: function URLs for everybody, Secrets Manager for the functions."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.clouds.aws.gateway.directory import Directory
from devstack.clouds.aws.gateway.forwarding import Forwarding
from devstack.clouds.aws.gateway.sandboxes import Sandboxes
from devstack.clouds.aws.gateway.vault import RoleCredentials, Vault
from devstack.serving import AppServer


class Gateway:
    """Serves the function URLs of an emulated AWS; a context manager, with whose end all functions end."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.started_at = time.time()
        self._resources = ExitStack()
        credentials = RoleCredentials()
        self._vault = AppServer(Vault(endpoint, credentials), name="vault")
        self._sandboxes = Sandboxes(folder, credentials, self._vault.origin)
        self._forwarding = Forwarding(Directory(folder, endpoint), self._sandboxes)
        self._front = AppServer(self._forwarding, name="gateway")

    @property
    def port(self) -> int:
        return self._front.port

    @property
    def used_at(self) -> float:
        """Return when somebody last followed a URL."""
        return self._forwarding.used_at

    def __enter__(self) -> Self:
        self._resources.enter_context(self._vault)
        self._resources.callback(self._sandboxes.end_all)
        self._resources.enter_context(self._front)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
