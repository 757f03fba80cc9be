"""Opening an environment on Google Cloud: with the shell's credentials, or in an emulator of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import google.auth
import httpx
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError

from deployment.catalogue import FunctionSpec
from deployment.environments import Environment
from deployment.errors import Refused
from deployment.providers.gcp.calls import CREDENTIALS_ADVICE
from deployment.providers.gcp.clients import Access
from deployment.providers.gcp.provider import GcpProvider

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Emulated(Protocol):
    """A Google Cloud that runs on this machine."""

    @property
    def host(self) -> str:
        """Return where its APIs are: an address and a port."""

    def transport(self) -> httpx.BaseTransport: ...


class Emulator(Protocol):
    """A module that starts one, or finds the one that runs already."""

    def open_emulated(self, folder: Path) -> Emulated: ...


def open_gcp(
    environment: Environment, specs: Mapping[str, FunctionSpec], emulator: Emulator | None, folder: Path
) -> GcpProvider:
    """Return the provider of an environment.

    Args:
        environment: the environment; it has a table [gcp].
        specs: the functions, with the environment's overrides.
        emulator: imitates Google Cloud on this machine; None: the project that the credentials lead to.
        folder: where an emulator keeps its state.

    Raises:
        Refused: there are no credentials.
    """
    if emulator is not None:
        emulated = emulator.open_emulated(folder)
        anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
        access = Access(anonymous, emulated.host)
        return GcpProvider(environment, specs, access, transport=emulated.transport())
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except GoogleAuthError as error:
        raise Refused(
            f"There are no Google Cloud credentials. {CREDENTIALS_ADVICE} Without a project: --emulate gcp"
        ) from error
    return GcpProvider(environment, specs, Access(credentials))
