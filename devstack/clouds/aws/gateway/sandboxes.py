"""The processes of versions: what was uploaded, unpacked once, started by run.sh with what Lambda gives it.

A process is started by the first request to its version. It ends when nobody has called it for a while, when
it was too slow to answer, or with the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deployment.bundles.staging import BuildError
from deployment.bundles.targets import find_interpreter
from devstack.clouds.aws.gateway.directory import Version
from devstack.clouds.aws.gateway.unpacking import Unpacker
from devstack.clouds.aws.gateway.vault import RoleCredentials
from devstack.processes import free_ports

START_SECONDS = 60.0  # Lambda gives ten; a machine that is busy with seven of them gets more
IDLE_SECONDS = 300.0
_POLL_SECONDS = 0.01
_WRAPPER = "/opt/bootstrap"
_ADAPTER = ":layer:LambdaAdapterLayer"
_HEALTHY = range(100, 500)


class StartFailed(Exception):
    """A version does not start; the text says why."""


@dataclass(slots=True)
class Sandbox:
    """A version's process."""

    version: Version
    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    client: httpx.AsyncClient
    running: int = 0
    """Requests that it answers now."""
    used_at: float = field(default_factory=time.monotonic)
    retired: bool = False
    """Takes no further request, and ends with its last one."""

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """End the process and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Sandboxes:
    """All processes, one for each version that was called."""

    def __init__(self, folder: Path, credentials: RoleCredentials, secrets_endpoint: str) -> None:
        self._folder = folder
        self._credentials = credentials
        self._secrets_endpoint = secrets_endpoint
        self._unpacker = Unpacker(folder / "code", folder / "unpacked")
        self._starting: dict[tuple[str, str, str], asyncio.Task[Sandbox]] = {}
        self._all: list[Sandbox] = []

    async def take(self, version: Version) -> Sandbox:
        """Return the process of a version, for one more request; `give_back` ends the request.

        Raises:
            StartFailed: it does not start.
        """
        self._sweep()
        task = self._starting.get(version.key)
        if task is None or _is_over(task):
            task = asyncio.create_task(self._start(version))
            self._starting[version.key] = task
        sandbox = await asyncio.shield(task)
        sandbox.running += 1
        return sandbox

    async def give_back(self, sandbox: Sandbox) -> None:
        """End a request; the last one of a retired process ends that too."""
        sandbox.running -= 1
        sandbox.used_at = time.monotonic()
        if sandbox.retired and not sandbox.running:
            await self._end(sandbox)

    def end_all(self) -> None:
        """End every process, and remove what was unpacked for them."""
        for sandbox in self._all:
            sandbox.end()
        self._all.clear()
        self._unpacker.remove()

    def _sweep(self) -> None:
        for sandbox in list(self._all):
            unused = not sandbox.running and time.monotonic() - sandbox.used_at > IDLE_SECONDS
            if unused or not sandbox.alive:
                sandbox.retired = True
                sandbox.end()
                self._all.remove(sandbox)

    async def _end(self, sandbox: Sandbox) -> None:
        sandbox.end()
        await sandbox.client.aclose()
        if sandbox in self._all:
            self._all.remove(sandbox)

    async def _start(self, version: Version) -> Sandbox:
        handler = str(version.config["Handler"])
        task_root = await asyncio.to_thread(self._unpacker.unpack, version.package)
        script = task_root / handler
        _check(version, script)
        (port,) = free_ports(1)
        environment = await asyncio.to_thread(self._environment, version, task_root, port)
        log_file = self._log_file(version)
        with log_file.open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220, S603  # it is what the emulator is for; it returns at once
                [str(script)],
                cwd=task_root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=None,  # noqa: S113  # the function's own time-out ends it
            limits=httpx.Limits(max_connections=None),
            follow_redirects=False,
            trust_env=False,
        )
        sandbox = Sandbox(version, process, port, log_file, client)
        self._all.append(sandbox)
        try:
            await _await_ready(sandbox)
        except StartFailed:
            await self._end(sandbox)
            raise
        return sandbox

    def _environment(self, version: Version, task_root: Path, port: int) -> dict[str, str]:
        """Return what Lambda gives a function: its own variables and Lambda's, nothing of this process."""
        _, _, _, region, _, _, name = version.arn.split(":")
        keys = self._credentials.issue(str(version.config["Role"]), region)
        return {
            **version.variables,
            "AWS_LWA_PORT": str(port),
            "PATH": f"{self._interpreters(version)}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(task_root),
            "_HANDLER": str(version.config["Handler"]),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.config['Runtime']}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": version.number,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.config["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": str(version.config["LoggingConfig"]["LogGroup"]),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self._secrets_endpoint,
        }

    def _interpreters(self, version: Version) -> Path:
        """Return a folder whose `python3` is of the runtime, and does not see this environment's packages."""
        runtime = str(version.config["Runtime"])
        folder = self._folder / "interpreters" / runtime
        link = folder / "python3"
        if not link.exists():
            try:
                found = find_interpreter(runtime.removeprefix("python"))
            except BuildError as error:
                raise StartFailed(f"There is no interpreter for {runtime} on this machine.") from error
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(found.path.resolve())
        return folder

    def _log_file(self, version: Version) -> Path:
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        name = version.arn.rsplit(":", 1)[1]
        return logs / f"{name}-{version.number.removeprefix('$')}.log"


def _is_over(task: asyncio.Task[Sandbox]) -> bool:
    if not task.done():
        return False
    if task.cancelled() or task.exception() is not None:
        return True
    sandbox = task.result()
    return sandbox.retired or not sandbox.alive


def _check(version: Version, script: Path) -> None:
    layers = [layer["Arn"] for layer in version.config.get("Layers", [])]
    if version.variables.get("AWS_LAMBDA_EXEC_WRAPPER") != _WRAPPER:
        raise StartFailed(f"AWS_LAMBDA_EXEC_WRAPPER is not {_WRAPPER}: nobody speaks HTTP with it.")
    if not any(_ADAPTER in arn for arn in layers):
        raise StartFailed(f"{_WRAPPER} is not there: the version has no layer of Lambda Web Adapter.")
    if not os.access(script, os.X_OK):
        raise StartFailed(f"{script.name} is not in the package, or not executable.")


async def _await_ready(sandbox: Sandbox) -> None:
    """Poll as Lambda Web Adapter does: the path that it is told, until any answer below 500."""
    path = _readiness_path(sandbox.version.variables)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not sandbox.alive:
            raise StartFailed(
                f"Runtime exited with status {sandbox.process.returncode}; see {sandbox.log_file.name}."
            )
        with contextlib.suppress(httpx.TransportError):
            if (await sandbox.client.get(path)).status_code in _HEALTHY:
                return
        await asyncio.sleep(_POLL_SECONDS)
    raise StartFailed(f"Not ready after {START_SECONDS:.0f} s; see {sandbox.log_file.name}.")


def _readiness_path(variables: Mapping[str, str]) -> str:
    return variables.get("AWS_LWA_READINESS_CHECK_PATH", "/")
