"""What a revision is made of: a state, as Cloud Run's template. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from google.cloud.run_v2.types import (
    Container,
    ContainerPort,
    EnvVar,
    EnvVarSource,
    ExecutionEnvironment,
    ResourceRequirements,
    Revision,
    RevisionTemplate,
    SecretKeySelector,
    SourceCode,
)

from deployment.providers.placeholder_files import RUN_SH
from deployment.states import FunctionState, SecretPin

PORT = 8080
_NO_IMAGE = "scratch"
"""What stands for the image where a base image runs what lies in a bucket."""
_CPU_FOR_MIB: Mapping[int, str] = {4096: "1", 8192: "2", 16_384: "4", 32_768: "8"}
"""Up to which memory how many CPUs do: Cloud Run refuses much memory on few."""
_PLACEHOLDER_MEMORY_MB = 512
_PLACEHOLDER_TIMEOUT_SECONDS = 10
_PLACEHOLDER_CONCURRENCY = 80


@dataclass(frozen=True, slots=True)
class Source:
    """A package in a bucket, as it was when it was looked at."""

    bucket: str
    key: str
    generation: int


def template_of(state: FunctionState, *, account: str, source: Source) -> RevisionTemplate:
    """Return the template of a state's revision; its name is chosen when it is published."""
    plain = {**state.variables, "THREADS": str(state.concurrency)}
    return RevisionTemplate(
        service_account=account,
        timeout=dt.timedelta(seconds=state.timeout_seconds),
        max_instance_request_concurrency=state.concurrency,
        execution_environment=ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2,
        containers=[
            _container(source, state.python, state.memory_mb, [*_plain(plain), *_secret(state.secrets)])
        ],
    )


def placeholder_of(*, account: str, source: Source, python: str) -> RevisionTemplate:
    """Return the template of what answers before the first release."""
    return RevisionTemplate(
        service_account=account,
        timeout=dt.timedelta(seconds=_PLACEHOLDER_TIMEOUT_SECONDS),
        max_instance_request_concurrency=_PLACEHOLDER_CONCURRENCY,
        execution_environment=ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2,
        containers=[_container(source, python, _PLACEHOLDER_MEMORY_MB, [])],
    )


def is_made_of(revision: Revision, template: RevisionTemplate) -> bool:
    """Return whether a revision is what a template makes, in all that a name could claim falsely."""
    return _facts(revision) == _facts(template)


def _facts(made: Revision | RevisionTemplate) -> object:
    container = made.containers[0]
    variables = {
        each.name: each.value
        or (
            each.value_source.secret_key_ref.secret.rpartition("/")[2],
            each.value_source.secret_key_ref.version,
        )
        for each in container.env
    }
    seconds = made.timeout.total_seconds() if made.timeout else 0
    command = [*container.command, *container.args]
    return (variables, seconds, made.service_account, made.max_instance_request_concurrency, command)


def _container(source: Source, python: str, memory_mb: int, env: list[EnvVar]) -> Container:
    place = SourceCode.CloudStorageSource(
        bucket=source.bucket, object_=source.key, generation=source.generation
    )
    cpu = next(cpus for most, cpus in _CPU_FOR_MIB.items() if memory_mb <= most)
    return Container(
        image=_NO_IMAGE,
        base_image_uri=f"python{python.replace('.', '')}",
        source_code=SourceCode(cloud_storage_source=place),
        command=["/bin/sh"],
        args=[RUN_SH],
        env=env,
        ports=[ContainerPort(container_port=PORT)],
        resources=ResourceRequirements(
            limits={"cpu": cpu, "memory": f"{memory_mb}Mi"},
            cpu_idle=True,  # paid while it answers, not while it waits
            startup_cpu_boost=True,
        ),
    )


def _plain(variables: Mapping[str, str]) -> list[EnvVar]:
    return [EnvVar(name=name, value=value) for name, value in sorted(variables.items())]


def _secret(secrets: Mapping[str, SecretPin]) -> list[EnvVar]:
    def source(pin: SecretPin) -> EnvVarSource:
        return EnvVarSource(secret_key_ref=SecretKeySelector(secret=pin.name, version=pin.version))

    return [EnvVar(name=name, value_source=source(pin)) for name, pin in sorted(secrets.items())]
