"""The Google provider on the emulated APIs, by HTTP: deployed by the real planner, looked at and broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials

from deployment.catalogue import FunctionSpec
from deployment.environments import Environment, GcpPlace, Platform, Target
from deployment.names import secret_name
from deployment.providers.gcp.clients import Access, Clients
from deployment.providers.gcp.provider import GcpProvider
from deployment.resources import Observed, Revision
from deployment.states import FunctionState, SecretPin
from devstack.clouds.gcp.api.run import Run
from devstack.clouds.gcp.api.world import PROJECT, PROJECT_NUMBER, Pace
from devstack.clouds.gcp.cloud import REGION, Cloud
from devstack.clouds.gcp.faults import CrashAt, Fault
from devstack.clouds.gcp.serving import Apis
from devstack.serving import AppServer
from shared.settings import Env
from tests.unit.deployment.cloud_kit import BUCKET, CATALOGUE, NAMES, CloudWorld, variables_of
from tests.unit.deployment.memory_kit import Killed

IMAGES = "sluice-images"
QUICK = Pace(operation_polls=1, account_calls=1, grant_checks=0)
VARIABLE = "REDIS_URL"
"""The one secret that the states here pin."""


def environment(**changes: object) -> Environment:
    """Return an environment on Google Cloud."""
    given = {
        "name": "staging",
        "file": "infra/environments/staging.toml",
        "provider": Platform.GCP,
        "sluice_env": Env.STAGING,
        "gcp": GcpPlace(project=PROJECT, project_number=PROJECT_NUMBER, region=REGION, bucket=BUCKET),
        "target": Target(python="3.13", architecture="x86_64"),
        "variables": {"BLOB_URL": f"gs://{IMAGES}/staging"},
    }
    return Environment.model_validate(given | changes)


def state(name: str, code: str = "a", **changes: Any) -> FunctionState:
    """Return a state of a function, with code of its own."""
    made = FunctionState(
        name=name,
        code=(code * 64)[:60] + f"{NAMES.index(name):04x}",
        variables=variables_of(name),
        secrets={VARIABLE: SecretPin("sluice-staging-redis-url", "1")},
        memory_mb=512,
        timeout_seconds=30,
        concurrency=8,
        python="3.13",
        architecture="x86_64",
    )
    return replace(made, **changes)


@dataclass
class World(CloudWorld[GcpProvider]):
    """A Google Cloud and the environment on it."""

    cloud: Cloud
    clients: Clients
    folder: Path
    environment: Environment = field(default_factory=environment)
    catalogue: Mapping[str, FunctionSpec] = field(default_factory=lambda: CATALOGUE)
    names: tuple[str, ...] = NAMES
    waits: list[float] = field(default_factory=list)
    later_seconds: float = 0
    """By how much the clock of the lock is ahead of this machine's."""

    def wait(self, seconds: float) -> None:
        """Go on at once; but a caller that was killed never does."""
        self.waits.append(seconds)
        if any(isinstance(fault, CrashAt) and fault.happened for fault in self.cloud.faults):
            raise Killed

    def inject(self, *faults: Fault) -> None:
        """Let these faults happen from now on, and no other."""
        self.cloud.faults[:] = faults

    def provider(self, at_once: int = 1, **changes: Any) -> GcpProvider:
        """Return a provider as a new process would make it."""
        return GcpProvider(
            self.environment.model_copy(update=changes),
            self.specs,
            Access(AnonymousCredentials()),  # type: ignore[no-untyped-call]
            wait=self.wait,
            at_once=at_once,
            clients=self.clients,
        )

    def state(self, name: str) -> FunctionState:
        return state(name)

    def writes(self) -> list[str]:
        """Return the writes since the last look, but for the lock's."""
        calls = [str(call) for call in self.cloud.recorder.writes()]
        self.cloud.recorder.clear()
        return [call for call in calls if not call.endswith("/lock.json")]

    def content(self, observed: Observed | None = None) -> dict[str, Any]:
        return super().content(observed) | {"accounts": sorted(self.cloud.world.accounts)}

    def settings(self, name: str, revision: Revision, url: str) -> dict[str, Any]:
        """Return what a revision is made of; its function's address is always the same."""
        service = f"sluice-staging-{name.replace('_', '-')}"
        assert url.startswith(f"https://{service}-")
        return _settings(self.cloud.run.services[service].revisions[revision.id])

    def put_secrets(self) -> None:
        """Give every secret of the environment a value."""
        for variable in sorted(
            {v for spec in self.specs.values() for v in self.environment.secrets_of(spec)}
        ):
            name = secret_name(self.environment, variable)
            self.provider().secrets.put(name, f"the value of {variable}", request_id="1")


def _settings(revision: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = revision["containers"]
    source = dict(container["sourceCode"]["cloudStorageSource"])
    source.pop("generation")
    kept = {key: revision.get(key) for key in ("timeout", "serviceAccount", "maxInstanceRequestConcurrency")}
    return {**kept, **container, "sourceCode": source}


class Site:
    """An emulated Google Cloud that listens, for many worlds one after the other."""

    def __init__(self, cloud: Cloud, clients: Clients) -> None:
        self._cloud = cloud
        self._clients = clients
        self._new = cloud.remember()
        self._begun: dict[tuple[tuple[str, ...], bool], Run] = {}

    def world(self, folder: Path, names: tuple[str, ...] = NAMES, *, released: bool = False) -> World:
        """Return a world with secrets and the bucket of images; `released`: with a first release too."""
        world = World(self._cloud, self._clients, folder, names=names)
        world.inject()
        if (names, released) not in self._begun:
            self._cloud.restore(self._new)
            self._clients.rest.post("storage", f"/storage/v1/b?project={PROJECT}", {"name": IMAGES})
            world.put_secrets()
            if released:
                world.apply(world.wanted())
            self._begun[names, released] = self._cloud.remember()
        self._cloud.restore(self._begun[names, released])
        world.waits.clear()
        world.cloud.recorder.clear()
        return world


@contextlib.contextmanager
def new_site(pace: Pace = QUICK) -> Iterator[Site]:
    """Give an emulated Google Cloud on a free port."""
    cloud = Cloud(pace=pace)
    with AppServer(Apis(cloud), name="gcp") as server:
        anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
        clients = Clients(Access(anonymous, f"127.0.0.1:{server.port}"), PROJECT)
        try:
            yield Site(cloud, clients)
        finally:
            clients.close()
