"""What the provider allows, and what a function cannot work without.

Lambda      quotas of the developer guide: 128-10,240 MB, 900 s, 4 KB of variables, 64 characters of a name;
            100 of the account's concurrency stay unreserved; an instance serves one request at a time
Cloud Run   quotas of its documentation: 512-32,768 MiB (second generation), 3,600 s, 1,000 requests an
            instance; a DNS label of 63 characters for the address of a tagged revision
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deployment.catalogue import FunctionSpec
from deployment.environments import AwsPlace, GcpPlace, Platform
from deployment.names import ACCOUNT_CHARACTERS, account_id, function_name
from deployment.policies import aws_secret
from deployment.problems import Problem
from deployment.validation.starts import settings_of
from deployment.validation.subject import Subject
from shared.config import get_concurrency_config
from shared.errors import ConfigError
from shared.routing import models_of
from shared.settings import ConcurrencyConfig, EventsSettings, LaneSettings

SPARE_REQUESTS = 2
"""What a lane serves above its slots: a delivery that finds none is refused at once, and a probe gets in."""
MARGIN_SECONDS = 15
"""By how much the platform's time-out must exceed ours, so that it is ours that ends a request."""
LAMBDA_UNRESERVED = 100
LAMBDA_VARIABLES_BYTES = 4096
LAMBDA_OWN_VARIABLES_BYTES = 400
"""What the adapter's and the framework's settings take of it."""
CANDIDATE_TAG = "c-00000000"
"""How long the tag of a revision is that is probed before it is live; it is part of the address."""
LABEL_CHARACTERS = 63
_VERSION_ID = "0" * 36
_RETENTION_DAYS = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
_LAYER = re.compile(r"arn:aws:lambda:([a-z0-9-]+):\d{12}:layer:LambdaAdapterLayer(X86|Arm64):\d+")
_REGION = re.compile(r"[a-z]+(-[a-z]+)+-?\d+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PLACES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "account": (re.compile(r"\d{12}"), "must be twelve digits"),
    "region": (_REGION, "is no region, such as eu-central-1 or europe-west3"),
    "bucket": (_BUCKET, "is no name of a bucket: 3 to 63 of a-z, 0-9, dots and dashes"),
    "project": (
        re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        "is no project id: 6 to 30 of a-z, 0-9 and dashes",
    ),
    "project_number": (re.compile(r"\d{6,20}"), "must be digits"),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a platform allows of one function."""

    platform: str
    memory_mb: tuple[int, int]
    timeout_seconds: int
    concurrency: int
    name_characters: int
    reserved_names: re.Pattern[str]


BOUNDS = {
    Platform.AWS: Bounds(
        "Lambda", (128, 10_240), 900, 10_000, 64, re.compile(r"AWS_.*|LAMBDA_.*|_HANDLER|TZ")
    ),
    Platform.GCP: Bounds("Cloud Run", (512, 32_768), 3600, 1000, 49, re.compile(r"PORT|K_.*|CLOUD_RUN_.*")),
}


def problems(subject: Subject) -> Iterator[Problem]:
    """Yield what is beyond a limit of the provider, or below what the functions need."""
    yield from _place(subject)
    bounds = BOUNDS.get(subject.environment.provider)
    for spec in subject.specs.values():
        if bounds:
            yield from _beyond(subject, spec, bounds)
        if spec.min_instances > spec.max_instances:
            text = f"is {spec.min_instances}, above max_instances = {spec.max_instances}"
            yield subject.of(spec.name, "min_instances", text)
        yield from _times(subject, spec)
    yield from _slots(subject)
    if isinstance(subject.environment.place, AwsPlace):
        yield from _on_lambda(subject, subject.environment.place)
    if isinstance(subject.environment.place, GcpPlace):
        yield from _on_cloud_run(subject, subject.environment.place)


def _place(subject: Subject) -> Iterator[Problem]:
    for key, value in subject.environment.place.model_dump().items():
        pattern, text = _PLACES.get(key, (None, ""))
        if pattern and not pattern.fullmatch(value):
            yield subject.here(subject.environment.provider, key, text)


def _beyond(subject: Subject, spec: FunctionSpec, bounds: Bounds) -> Iterator[Problem]:
    low, high = bounds.memory_mb
    if not low <= spec.memory_mb <= high:
        text = f"is {spec.memory_mb}: {bounds.platform} allows {low} to {high}"
        yield subject.of(spec.name, "memory_mb", text)
    for key, most in (("timeout_seconds", bounds.timeout_seconds), ("concurrency", bounds.concurrency)):
        if getattr(spec, key) > most:
            text = f"is {getattr(spec, key)}: {bounds.platform} allows {most} at most"
            yield subject.of(spec.name, key, text)
    name = function_name(subject.environment, spec.name)
    if len(name) > bounds.name_characters:
        most = bounds.name_characters
        yield subject.here(
            "", "", f"makes names of {len(name)} characters, {name}: {bounds.platform} allows {most}"
        )
    for variable in sorted(each for each in spec.environment_names if bounds.reserved_names.fullmatch(each)):
        yield subject.of(
            spec.name, "uses", f"hands over {variable}, a name that {bounds.platform} keeps to itself"
        )


def _times(subject: Subject, spec: FunctionSpec) -> Iterator[Problem]:
    """Yield platform time-outs that would cut off what is still within ours."""
    match settings_of(subject, spec):
        case LaneSettings(time=time):
            ours, name = time.worker_timeout_seconds, "WORKER_TIMEOUT_SECONDS"
        case EventsSettings(stream=stream):
            ours, name = stream.max_connection_seconds, "MAX_CONNECTION_SECONDS"
        case _:
            return
    if spec.timeout_seconds < ours + MARGIN_SECONDS:
        text = f"is {spec.timeout_seconds}, but must exceed {name} = {ours:g} by at least {MARGIN_SECONDS}"
        yield subject.of(spec.name, "timeout_seconds", text)


def _slots(subject: Subject) -> Iterator[Problem]:
    limits = _limits(subject)
    for spec in subject.lanes() if limits else ():
        assert limits is not None
        assert spec.lane is not None
        slots = sum(limits.slots(model, spec.lane.tier) for model in models_of(spec.lane))
        least = slots + SPARE_REQUESTS
        why = f"but {spec.name} has {slots} slots, and {SPARE_REQUESTS} requests more must find a place"
        if spec.concurrency < least:
            yield subject.of(spec.name, "concurrency", f"is {spec.concurrency}, {why}")
        if subject.environment.provider is Platform.AWS and spec.reserved_concurrency < least:
            yield subject.of(spec.name, "reserved_concurrency", f"is {spec.reserved_concurrency}, {why}")


def _limits(subject: Subject) -> ConcurrencyConfig | None:
    """Return the limits as the functions will read them; None when they are malformed: `starts` says so."""
    try:
        return get_concurrency_config(subject.environment.variables)
    except ConfigError:
        return None


def _on_lambda(subject: Subject, place: AwsPlace) -> Iterator[Problem]:
    yield from _layer(subject, place)
    reserved = sum(spec.reserved_concurrency for spec in subject.specs.values())
    most = place.account_concurrency - LAMBDA_UNRESERVED
    if reserved > most:
        text = (
            f"is {place.account_concurrency}, of which Lambda keeps {LAMBDA_UNRESERVED} unreserved: "
            f"the functions' reserved_concurrency adds up to {reserved}, above {most}"
        )
        yield subject.here("aws", "account_concurrency", text)
    for spec in subject.specs.values():
        if spec.log_retention_days not in _RETENTION_DAYS:
            text = f"is {spec.log_retention_days}: CloudWatch Logs takes {sorted(_RETENTION_DAYS)}"
            yield subject.of(spec.name, "log_retention_days", text)
        size = _variables_bytes(subject, spec, place)
        if size > LAMBDA_VARIABLES_BYTES:
            text = f"gets about {size} bytes of variables: Lambda takes {LAMBDA_VARIABLES_BYTES}"
            yield subject.of(spec.name, "uses", text)


def _layer(subject: Subject, place: AwsPlace) -> Iterator[Problem]:
    found = _LAYER.fullmatch(place.adapter_layer)
    architecture = {"x86_64": "X86", "arm64": "Arm64"}[subject.environment.target.architecture]
    if not found:
        yield subject.here(
            "aws", "adapter_layer", "is no ARN of LambdaAdapterLayerX86 or Arm64 with its version"
        )
    elif found[1] != place.region:
        yield subject.here(
            "aws", "adapter_layer", f"is in {found[1]}, but the functions are in {place.region}"
        )
    elif found[2] != architecture:
        yield subject.here("aws", "adapter_layer", f"is for {found[2]}, but bundles are for {architecture}")


def _variables_bytes(subject: Subject, spec: FunctionSpec, place: AwsPlace) -> int:
    """Return what a function's variables come to, names and values, with addresses of their true length."""
    environment = subject.environment
    address = f"https://{'0' * 32}.lambda-url.{place.region}.on.aws"
    variables = {
        name: re.sub(r"\$\{url:\w+\}", address, value)
        for name, value in environment.variables_of(spec).items()
    }
    pins = {
        variable: {"id": aws_secret(environment, variable), "version": _VERSION_ID}
        for variable in environment.secrets_of(spec)
    }
    variables["SLUICE_SECRETS"] = json.dumps(pins)
    return LAMBDA_OWN_VARIABLES_BYTES + sum(len(k.encode()) + len(v.encode()) for k, v in variables.items())


def _on_cloud_run(subject: Subject, place: GcpPlace) -> Iterator[Problem]:
    """Yield what Cloud Run has not, and names that come out too long: the longest, the others are with it."""
    if subject.environment.target.architecture != "x86_64":
        yield subject.here("target", "architecture", "must be x86_64: Cloud Run has no other")
    name = max((function_name(subject.environment, name) for name in subject.specs), key=len, default="")
    label = f"{CANDIDATE_TAG}---{name}-{place.project_number}"
    if place.project_number.isdecimal() and len(label) > LABEL_CHARACTERS:
        text = f"makes addresses with {len(label)} characters before the first dot, {label}: 63 are allowed"
        yield subject.here("", "", text)
    account = max((account_id(subject.environment, name) for name in subject.specs), key=len, default="")
    if len(account) > ACCOUNT_CHARACTERS:
        text = f"makes service accounts of {len(account)} characters, {account}: Google allows 30"
        yield subject.here("", "", text)
