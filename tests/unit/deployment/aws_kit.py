"""The AWS provider on an AWS in this process: deployed by the real planner and executor, looked at and broken."""

from __future__ import annotations

import contextlib
import io
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import boto3

from deployment.catalogue import FunctionSpec, load_catalogue
from deployment.environments import AwsPlace, Environment, Platform, Target
from deployment.errors import ProbeFailed
from deployment.execution import Executor
from deployment.ledger import past_of, releases
from deployment.lock import locked
from deployment.planner import Canary, Desired, make_plan
from deployment.providers.aws.provider import AwsProvider
from deployment.resources import Observed, ObservedFunction, Properties
from deployment.states import FunctionState, SecretPin, url_reference
from deployment.steps import Plan
from devstack.clouds.aws.in_process import InProcess, in_process
from devstack.clouds.aws.strict.calls import Timing
from shared.settings import Env
from tests.unit.deployment.memory_kit import Quiet

ACCOUNT = "123456789012"  # the one that an AWS in this process has
REGION = "eu-central-1"
BUCKET = "sluice-staging-artefacts"
LAYER = f"arn:aws:lambda:{REGION}:753240598075:layer:LambdaAdapterLayerX86:27"
ROUTES = {"actions": ("FREE_STREAM_URL", "free_stream")}
"""Whose variables hold another's address."""
NAMES = ("free_stream", "actions")


def environment(**changes: object) -> Environment:
    """Return an environment on AWS."""
    given = {
        "name": "staging",
        "file": "infra/environments/staging.toml",
        "provider": Platform.AWS,
        "sluice_env": Env.STAGING,
        "aws": AwsPlace(account=ACCOUNT, region=REGION, bucket=BUCKET, adapter_layer=LAYER),
        "target": Target(python="3.13", architecture="x86_64"),
        "variables": {"BLOB_URL": "s3://sluice-images/staging"},
    }
    return Environment.model_validate(given | changes)


def package(code: str) -> bytes:
    """Return a package; the same code is the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("main.py"), code)
    return content.getvalue()


def state(name: str, code: str = "a", **changes: Any) -> FunctionState:
    """Return a state of a function, with code of its own."""
    variables = {"SLUICE_ENV": "staging", "ROUTE_URL": url_reference(name)}
    if name in ROUTES:
        variable, function = ROUTES[name]
        variables[variable] = url_reference(function)
    made = FunctionState(
        name=name,
        code=(code * 64)[:62] + name[:2],
        variables=variables,
        secrets={"REDIS_URL": SecretPin("sluice/staging/REDIS_URL", "v" * 32)},
        memory_mb=512,
        timeout_seconds=30,
        concurrency=8,
        python="3.13",
        architecture="x86_64",
        layers=(LAYER,),
    )
    return replace(made, **changes)


@dataclass
class Probed:
    """A prober that asks nobody: says no to the code of `broken`, and notes what it was asked."""

    broken: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(default_factory=list)

    def probe(self, probed: FunctionState, url: str) -> None:
        self.asked.append((probed.name, url))
        if probed.code[0] in self.broken:
            raise ProbeFailed(f"{probed.name} does not answer")


class NoSchedule:
    def ensure(self, properties: Properties) -> None:
        raise AssertionError(properties)


class OneOfEach:
    """A session that makes one client of each kind: to make one takes longer than a hundred calls."""

    def __init__(self, aws: InProcess) -> None:
        self._aws = aws
        self._clients: dict[str, Any] = {}

    def client(self, service: str, region: str = REGION, config: Any = None) -> Any:
        if service not in self._clients:
            make: Any = self._aws.session.client
            self._clients[service] = make(service, region, config=config)
        return self._clients[service]


@dataclass
class World:
    """An AWS and the environment on it."""

    aws: InProcess
    folder: Path
    environment: Environment = field(default_factory=environment)
    catalogue: Mapping[str, FunctionSpec] = field(default_factory=load_catalogue)
    names: tuple[str, ...] = NAMES
    waits: list[float] = field(default_factory=list)
    later_seconds: float = 0
    """By how much the clock of the lock is ahead of this machine's."""

    def __post_init__(self) -> None:
        self._session = OneOfEach(self.aws)

    def provider(self, at_once: int = 1, **changes: Any) -> AwsProvider:
        """Return a provider as a new process would make it."""
        return AwsProvider(
            self.environment.model_copy(update=changes),
            self.catalogue,
            cast("boto3.Session", self._session),
            wait=self.waits.append,
            at_once=at_once,
        )

    def client(self, service: str) -> Any:
        """Return a strict client of somebody else's."""
        return self._session.client(service)

    def wanted(self, *states: FunctionState, stopped: Sequence[str] = (), keep: int = 3) -> Desired:
        """Return what is wanted: these states, of all functions or some of them."""
        provider = self.provider()
        every = {name: state(name) for name in self.names} | {each.name: each for each in states}
        specs = self.environment.specs(self.catalogue)
        resources = {name: provider.resources(specs[name], stopped=name in stopped) for name in every}
        return Desired("staging", every, resources, keep=keep)

    def plan(
        self, desired: Desired, provider: AwsProvider | None = None, canary: Canary | None = None
    ) -> Plan:
        """Return what leads from what is there to what is wanted."""
        ours = provider or self.provider()
        past = past_of(releases(ours.objects), desired.keep)
        return make_plan(desired, ours.observe(list(desired.states)), past, canary)

    def apply(
        self,
        desired: Desired,
        provider: AwsProvider | None = None,
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
                packages={each.code: self._package(each.code) for each in desired.states.values()},
                who="ann",
                revision="abc",
                wait=self.waits.append,
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

    def content(self, observed: Observed | None = None) -> dict[str, Any]:
        """Return all there is, in words that are the same for the same state of the world: no ids, no times."""
        observed = observed or self.observe()
        found = releases(self.provider().objects)
        return {
            "functions": {name: self._content(name, each) for name, each in observed.functions.items()},
            "artefacts": observed.artefacts,
            "released": {name: each.code for name, each in found[0].states.items()} if found else {},
        }

    def _content(self, name: str, found: ObservedFunction) -> dict[str, Any]:
        order = sorted(found.revisions, key=lambda revision: revision.number)
        ranks = {revision.fingerprint: rank for rank, revision in enumerate(order)}
        assert len(ranks) == len(order), "two revisions of one state"
        return {
            "resources": {kind: each.properties for kind, each in found.resources.items()},
            "has_url": found.url is not None,
            "revisions": [self._settings(name, revision.id, found.url or "") for revision in order],
            "live": {ranks[fingerprint]: percent for fingerprint, percent in found.live.items()},
        }

    def _settings(self, name: str, version: str, url: str) -> dict[str, Any]:
        """Return what a version is made of; the function's own address is another one each time it is made."""
        found = self.aws.plain("lambda").get_function_configuration(
            FunctionName=f"sluice-staging-{name.replace('_', '-')}", Qualifier=version
        )
        variables = {
            key: value.replace(url, "its own address")
            for key, value in found["Environment"]["Variables"].items()
        }
        kept = ("Timeout", "MemorySize", "Runtime", "Handler", "Role", "Layers", "CodeSha256")
        return {key: found.get(key) for key in kept} | variables

    def _package(self, code: str) -> Path:
        file = self.folder / f"{code}.zip"
        if not file.exists():
            file.write_bytes(package(code))
        return file


@contextlib.contextmanager
def new_world(folder: Path, names: tuple[str, ...] = NAMES, timing: Timing | None = None) -> Iterator[World]:
    """Give an empty AWS with the environment's files."""
    with in_process(timing=timing) as aws:
        yield World(aws, folder, names=names)


def kind_of(plan: Plan) -> list[str]:
    """Return a plan's steps by their names."""
    return [type(step).__name__ for step in plan.steps]
