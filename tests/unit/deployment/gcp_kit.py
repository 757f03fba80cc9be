"""The Google provider on the emulated APIs, by HTTP: deployed by the real planner, looked at and broken."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials

from deployment.catalogue import FunctionSpec, load_catalogue
from deployment.environments import Environment, GcpPlace, Platform, Target
from deployment.execution import Executor
from deployment.ledger import past_of, releases
from deployment.lock import locked
from deployment.names import secret_name
from deployment.planner import Canary, Desired, make_plan
from deployment.providers.gcp.clients import Access, Clients
from deployment.providers.gcp.provider import GcpProvider
from deployment.resources import Observed, ObservedFunction
from deployment.states import FunctionState, SecretPin, url_reference
from deployment.steps import Plan
from devstack.clouds.gcp.api.run import Run
from devstack.clouds.gcp.api.world import PROJECT, PROJECT_NUMBER, Pace
from devstack.clouds.gcp.cloud import REGION, Cloud
from devstack.clouds.gcp.faults import CrashAt, Fault
from devstack.clouds.gcp.serving import Apis
from devstack.serving import AppServer
from shared.settings import Env
from tests.unit.deployment.aws_kit import NoSchedule, Probed, package
from tests.unit.deployment.memory_kit import Killed, Quiet

BUCKET = "sluice-staging-artefacts"
IMAGES = "sluice-images"
ROUTES = {"actions": ("FREE_STREAM_URL", "free_stream")}
"""Whose variables hold another's address."""
NAMES = ("free_stream", "actions")
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
    variables = {"SLUICE_ENV": "staging", "ROUTE_URL": url_reference(name)}
    if name in ROUTES:
        variable, function = ROUTES[name]
        variables[variable] = url_reference(function)
    made = FunctionState(
        name=name,
        code=(code * 64)[:60] + f"{NAMES.index(name):04x}",
        variables=variables,
        secrets={VARIABLE: SecretPin("sluice-staging-redis-url", "1")},
        memory_mb=512,
        timeout_seconds=30,
        concurrency=8,
        python="3.13",
        architecture="x86_64",
    )
    return replace(made, **changes)


@dataclass
class World:
    """A Google Cloud and the environment on it."""

    cloud: Cloud
    clients: Clients
    folder: Path
    environment: Environment = field(default_factory=environment)
    catalogue: Mapping[str, FunctionSpec] = field(default_factory=load_catalogue)
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

    @property
    def specs(self) -> Mapping[str, FunctionSpec]:
        return self.environment.specs(self.catalogue)

    def wanted(self, *states: FunctionState, stopped: Sequence[str] = (), keep: int = 3) -> Desired:
        """Return what is wanted: these states, of all functions or some of them."""
        provider = self.provider()
        every = {name: state(name) for name in self.names} | {each.name: each for each in states}
        resources = {name: provider.resources(self.specs[name], stopped=name in stopped) for name in every}
        return Desired("staging", every, resources, keep=keep, stopped=frozenset(stopped))

    def plan(
        self, desired: Desired, provider: GcpProvider | None = None, canary: Canary | None = None
    ) -> Plan:
        """Return what leads from what is there to what is wanted."""
        ours = provider or self.provider()
        past = past_of(releases(ours.objects), desired.keep)
        return make_plan(desired, ours.observe(list(desired.states)), past, canary)

    def apply(
        self,
        desired: Desired,
        provider: GcpProvider | None = None,
        *,
        canary: Canary | None = None,
        prober: Probed | None = None,
    ) -> Plan:
        """Plan and perform, as the command does."""
        ours = provider or self.provider()
        ours.objects.ensure()
        with locked(ours.objects, "apply", clock=self._now) as lock:
            planned = self.plan(desired, ours, canary)
            executor = Executor(
                provider=ours,
                lock=lock,
                prober=prober or Probed(),
                scheduler=NoSchedule(),
                progress=Quiet(),
                packages={each.code: self.package(each.code) for each in desired.states.values()},
                who="ann",
                revision="abc",
                wait=self.wait,
            )
            executor.run(planned)
        return planned

    def _now(self) -> float:
        return time.time() + self.later_seconds

    def observe(self) -> Observed:
        return self.provider().observe(self.names)

    def function(self, name: str) -> ObservedFunction:
        return self.observe().functions[name]

    def live(self, name: str) -> Mapping[str, int]:
        return self.function(name).live

    def writes(self) -> list[str]:
        """Return the writes since the last look, but for the lock's."""
        calls = [str(call) for call in self.cloud.recorder.writes()]
        self.cloud.recorder.clear()
        return [call for call in calls if not call.endswith("/lock.json")]

    def content(self, observed: Observed | None = None) -> dict[str, Any]:
        """Return all there is, in words that are the same for the same state of the world: no ids, no times."""
        observed = observed or self.observe()
        found = releases(self.provider().objects)
        return {
            "functions": {name: self._content(name, each) for name, each in observed.functions.items()},
            "artefacts": observed.artefacts,
            "released": {name: each.code for name, each in found[0].states.items()} if found else {},
            "accounts": sorted(self.cloud.world.accounts),
        }

    def _content(self, name: str, found: ObservedFunction) -> dict[str, Any]:
        order = sorted(found.revisions, key=lambda revision: revision.number)
        ranks = {revision.fingerprint: rank for rank, revision in enumerate(order)}
        assert len(ranks) == len(order), "two revisions of one state"
        made = self.cloud.run.services[f"sluice-staging-{name.replace('_', '-')}"].revisions
        return {
            "resources": {kind: each.properties for kind, each in found.resources.items()},
            "url": found.url,
            "revisions": [_settings(made[revision.id]) for revision in order],
            "live": {ranks[fingerprint]: percent for fingerprint, percent in found.live.items()},
        }

    def package(self, code: str) -> Path:
        file = self.folder / f"{code}.zip"
        if not file.exists():
            file.write_bytes(package(code))
        return file

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
