"""Opening an environment: its files read and checked, its provider made, real or emulated."""

from __future__ import annotations

import getpass
import hashlib
import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployment.catalogue import ROOT, FunctionSpec, load_catalogue
from deployment.environments import Environment, Platform, load_environment
from deployment.errors import Refused
from deployment.execution import Progress
from deployment.names import secret_name
from deployment.problems import FilesRefused
from deployment.providers.interface import Provider
from deployment.providers.local.outside import Declared, load_outside
from deployment.validation import check
from deployment.workspace import Workspace

STATE_FOLDER = ROOT / "build" / "environments"
SERVICES_FOLDER = "services"
"""Where, in an emulator's folder, the world around an emulated environment keeps its state."""
EMULATORS = {"aws": "devstack.clouds.aws", "gcp": "devstack.clouds.gcp"}
"""The modules that imitate a cloud on this machine, imported only for `--emulate`."""


@contextmanager
def opened(name: str | None, emulate: str | None, progress: Progress) -> Iterator[Workspace]:
    """Open an environment, checked, and let go of it afterwards.

    Args:
        name: the environment's; None means the emulated one.
        emulate: the cloud to imitate, or None for what the file says.
        progress: who is told of the progress.

    Raises:
        Refused: the files are wrong, or the environment and `emulate` do not go together.
    """
    environment = load_environment(name or (f"emulated-{emulate}" if emulate else "dev"))
    _check_emulation(environment, emulate)
    catalogue = load_catalogue()
    if problems := check(catalogue, environment):
        raise FilesRefused(problems)
    specs, outside = environment.specs(catalogue), _outside(environment, emulate)
    environment = environment.supplied(outside.variables)
    provider = _provider(environment, specs, emulate)
    environment = environment.supplied(provider.variables())
    workspace = Workspace(environment, specs, provider, who=_who(), progress=progress)
    try:
        provider.check()
        _hand_over(outside, workspace)
        yield workspace
    finally:
        workspace.close()


def end_emulator(workspace: Workspace, emulate: str) -> None:
    """End the process that imitates a cloud, once nothing is left in it."""
    importlib.import_module(EMULATORS[emulate]).shut_down(state_folder(workspace.environment))


def state_folder(environment: Environment) -> Path:
    """Return where this machine keeps what belongs to an environment that runs on it."""
    return STATE_FOLDER / environment.name


def _outside(environment: Environment, emulate: str | None) -> Declared:
    """Return what an emulated environment is surrounded by: its emulator runs the services of its file."""
    if emulate is None or environment.services is None:
        return Declared({})
    services = load_outside(environment.services.module)
    return services.declare(state_folder(environment) / SERVICES_FOLDER)


def _hand_over(outside: Declared, workspace: Workspace) -> None:
    """Put the services' secrets into an emulated environment's store, those that are not there yet."""
    values = {**outside.suggested, **outside.secrets}
    for variable, value in values.items():
        if workspace.current_pin(variable) is None:
            name = secret_name(workspace.environment, variable)
            request_id = hashlib.sha256(f"{name}:{value}".encode()).hexdigest()[:32]
            workspace.provider.secrets.put(name, value, request_id=request_id)


def _check_emulation(environment: Environment, emulate: str | None) -> None:
    if emulate is None and environment.emulated:
        raise Refused(
            f"{environment.name} exists only with --emulate {environment.provider}: it has no account."
        )
    if emulate is not None and not environment.emulated:
        raise Refused(
            f"--emulate does not go with {environment.name}: it stands for a real {environment.provider}. "
            f"Leave --env out, or name an environment with `emulated = true`."
        )
    if emulate is not None and environment.provider != emulate:
        raise Refused(f"{environment.name} is on {environment.provider}, not on {emulate}.")


def _provider(environment: Environment, specs: Mapping[str, FunctionSpec], emulate: str | None) -> Provider:
    folder = state_folder(environment)
    emulator: Any = importlib.import_module(EMULATORS[emulate]) if emulate else None
    match environment.provider:
        case Platform.LOCAL:
            from deployment.providers.local.provider import LocalProvider

            return LocalProvider(environment, specs, folder)
        case Platform.AWS:
            from deployment.providers.aws.opening import open_aws

            return open_aws(environment, specs, emulator, folder)
        case Platform.GCP:
            from deployment.providers.gcp.opening import open_gcp

            return open_gcp(environment, specs, emulator, folder)


def _who() -> str:
    """Return who deploys, for the ledger: a CI system's name for it, else the user's."""
    for variable in ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILDKITE_BUILD_CREATOR"):
        if who := os.environ.get(variable):
            return who
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
