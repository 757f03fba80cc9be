"""The AWS provider on an AWS in this process: deployed by the real planner and executor, looked at and broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import boto3

from deployment.catalogue import FunctionSpec
from deployment.environments import AwsPlace, Environment, Platform, Target
from deployment.providers.aws.provider import AwsProvider
from deployment.resources import Revision
from deployment.states import FunctionState, SecretPin
from devstack.clouds.aws.in_process import InProcess, in_process
from devstack.clouds.aws.strict.calls import Timing
from shared.settings import Env
from tests.unit.deployment.cloud_kit import BUCKET, CATALOGUE, NAMES, CloudWorld, variables_of

ACCOUNT = "123456789012"  # the one that an AWS in this process has
REGION = "eu-central-1"
LAYER = f"arn:aws:lambda:{REGION}:753240598075:layer:LambdaAdapterLayerX86:27"


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


def state(name: str, code: str = "a", **changes: Any) -> FunctionState:
    """Return a state of a function, with code of its own."""
    made = FunctionState(
        name=name,
        code=(code * 64)[:62] + name[:2],
        variables=variables_of(name),
        secrets={"REDIS_URL": SecretPin("sluice/staging/REDIS_URL", "v" * 32)},
        memory_mb=512,
        timeout_seconds=30,
        concurrency=8,
        python="3.13",
        architecture="x86_64",
        layers=(LAYER,),
    )
    return replace(made, **changes)


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
class World(CloudWorld[AwsProvider]):
    """An AWS and the environment on it."""

    aws: InProcess
    folder: Path
    environment: Environment = field(default_factory=environment)
    catalogue: Mapping[str, FunctionSpec] = field(default_factory=lambda: CATALOGUE)
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

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def state(self, name: str) -> FunctionState:
        return state(name)

    def settings(self, name: str, revision: Revision, url: str) -> dict[str, Any]:
        """Return what a version is made of; the function's own address is another one each time it is made."""
        found = self.aws.plain("lambda").get_function_configuration(
            FunctionName=f"sluice-staging-{name.replace('_', '-')}", Qualifier=revision.id
        )
        variables = {
            key: value.replace(url, "its own address")
            for key, value in found["Environment"]["Variables"].items()
        }
        kept = ("Timeout", "MemorySize", "Runtime", "Handler", "Role", "Layers", "CodeSha256")
        return {key: found.get(key) for key in kept} | variables


@contextlib.contextmanager
def new_world(folder: Path, names: tuple[str, ...] = NAMES, timing: Timing | None = None) -> Iterator[World]:
    """Give an empty AWS with the environment's files."""
    with in_process(timing=timing) as aws:
        yield World(aws, folder, names=names)
