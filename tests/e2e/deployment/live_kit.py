"""An environment of real processes of built bundles on this machine, and the command that a release engineer types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deployment.catalogue import load_catalogue
from deployment.cli.opening import state_folder
from deployment.deliveries import new_nonce, probe_body, probe_path, takes_deliveries
from deployment.environments import Environment, load_environment
from deployment.providers.local.listener import port_is_free
from deployment.providers.local.provider import LocalProvider
from deployment.states import SecretPin
from tests.integration.deployment.local_kit import wait_gone
from tests.integration.http.stand_ins import REPOSITORY, plain_client, wait_for

PATIENCE_SECONDS = 240.0
PAUSE_SECONDS = 0.05
ENVIRONMENT = """\
provider = "local"
sluice_env = "dev"

[services]
module = "devstack.services"
variables = ["QSTASH_URL", "DEEPSEEK_BASE_URL", "GLM_BASE_URL", "BLOB_URL", "ALLOWED_ORIGINS"]

[releases]
keep = 3
"""


class Live:
    """One environment, and commands on it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.toml"
        self.file.write_text(ENVIRONMENT)
        self.environment: Environment = load_environment(str(self.file))
        self.folder = state_folder(self.environment)
        self.provider = LocalProvider(self.environment, load_catalogue(), self.folder)
        self.client = plain_client(30)

    def set_variable(self, name: str, value: str) -> None:
        """Change the environment's file, as somebody does who changes the configuration."""
        self.file.write_text(f"{ENVIRONMENT}\n[variables]\n{name} = {value!r}\n")

    def command(self, *arguments: str) -> list[str]:
        env = () if "build" in arguments else ("--env", str(self.file))
        return [sys.executable, str(REPOSITORY / "scripts" / "deploy.py"), *arguments, *env]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, given: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which is `status`."""
        done = subprocess.run(
            self.command(*arguments),
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def destroy(self) -> None:
        """Destroy it: no process, no port, no folder is left, whatever happened to it before."""
        commands = self.provider.supervision.running()
        pids = {pid for each in self.processes().values() for pid in each}
        pids |= {commands.endpoint.pid} if commands else set()
        ports = [int(url.rpartition(":")[2]) for url in self.urls().values()]
        services = json.loads((self.folder / "services" / "services.json").read_text())
        ports += [services[name] for name in ("valkey_port", "qstash_port", "llm_port")]
        self.run("destroy", "--with-secrets", "--confirm", self.environment.name)
        wait_gone(*pids)
        assert all(port_is_free(port) for port in ports)
        assert not self.folder.exists(), list(self.folder.rglob("*"))

    def urls(self) -> Mapping[str, str]:
        return self.provider.observe(list(load_catalogue())).urls

    def secret(self, variable: str) -> str:
        """Return the present value of a secret."""
        state = self.provider.secrets.describe([variable])[variable]
        return self.provider.secrets.read(SecretPin(variable, state.current))

    def variable(self, name: str) -> str:
        return self.provider.variables()[name]

    def processes(self) -> dict[str, set[int]]:
        """Return the ids of each function's processes."""
        commands = self.provider.supervision.running()
        found = (commands.status() if commands else None) or {}
        return {
            name: {instance["pid"] for instance in each["instances"].values() if instance["pid"]}
            for name, each in found.items()
        }

    # -- QStash --------------------------------------------------------------------------------------------------------

    def qstash(self, method: str, path: str, **how: Any) -> Any:
        """Call the environment's QStash with its token."""
        headers = {"Authorization": f"Bearer {self.secret('QSTASH_TOKEN')}", **how.pop("headers", {})}
        url = f"{self.variable('QSTASH_URL')}{path}"
        response = self.client.request(method, url, headers=headers, **how)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def publish_probe(self, function: str, url: str) -> None:
        """Have QStash deliver a probe, signed with whatever it signs with, once and never again."""
        self.qstash(
            "POST",
            f"/v2/publish/{url}{probe_path(function)}",
            content=probe_body(new_nonce()),
            headers={"Upstash-Retries": "0", "Content-Type": "application/json"},
        )

    def deliveries(self) -> Deliveries:
        """Return how QStash's deliveries have ended, once none is on its way."""
        state = wait_for(self._idle, seconds=PATIENCE_SECONDS)
        return Deliveries(state["delivered"], state["failed"] + state["retry"])

    def _idle(self) -> Any:
        state = self.qstash("GET", "/dev/state")
        return None if state["open"] else state


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How many deliveries have ended how."""

    taken: int
    refused: int


@contextmanager
def live(folder: Path) -> Iterator[Live]:
    """Open an environment that nobody else has; in the end its destruction has left nothing of it."""
    environment = Live(folder, f"live-{os.getpid()}-{folder.name.replace('_', '-')}"[:40].rstrip("-"))
    try:
        yield environment
    finally:
        environment.destroy()
        environment.client.close()


class Repeating:
    """Somebody who does something again and again, while something else happens."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.times = 0
        self.failure: BaseException | None = None
        self._act = act
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, times: int) -> None:
        wanted = self.times + times
        wait_for(lambda: self.times >= wanted or self.failure, seconds=PATIENCE_SECONDS)
        assert self.failure is None, self.failure

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._act()
                self.times += 1
                self._stop.wait(PAUSE_SECONDS)
        except Exception as error:  # told to whoever waits
            self.failure = error


def senders(environment: Live) -> Callable[[], None]:
    """Return what publishes a probe for every function that QStash calls."""
    urls = {name: url for name, url in environment.urls().items() if takes_deliveries(name)}
    assert len(urls) == 6

    def publish_to_all() -> None:
        for name, url in urls.items():
            environment.publish_probe(name, url)

    return publish_to_all
