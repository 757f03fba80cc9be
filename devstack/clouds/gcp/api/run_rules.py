"""What Cloud Run refuses of a service before it takes anything in, each rule after its documentation.

names          a service 49 characters, a revision 63 and beginning with its service's, a tagged address
               63 before its first dot                       (Cloud Run: quotas; traffic tags)
a template     time-out 3,600 s, 1,000 requests an instance, memory from 512 Mi in the second generation,
               at most 4 Gi on one CPU, variables of 32 KiB, none of PORT and K_…   (services; memory limits;
               environment variables)
traffic        revisions that there are, 100 per cent in all, tags once            (traffic migration)
scaling        manual needs a number; back to automatic both bounds or neither     (manual scaling)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from devstack.clouds.gcp.api.requests import Document, invalid

_SERVICE = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_REVISION = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[a-z]([a-z0-9-]{0,44}[a-z0-9])?")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_RESERVED = re.compile(r"PORT|K_SERVICE|K_REVISION|K_CONFIGURATION|CLOUD_RUN_.*|X_GOOGLE_.*")
_MEMORY = re.compile(r"(\d+)(Mi|Gi)")
_TIMEOUT_SECONDS = 3600
_CONCURRENCY = 1000
_ADDRESS_CHARACTERS = 63
_VARIABLE_BYTES = 32 * 1024
_LEAST_MIB = 512
_MIB_OF_CPUS: Mapping[str, int] = {"1": 4096, "2": 8192, "4": 16_384, "8": 32_768}
_WHOLE = 100
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
BY_REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"


def check_name(service: str) -> None:
    if not _SERVICE.fullmatch(service):
        raise invalid(f"The service name {service} must be 1 to 49 lowercase letters, digits and dashes.")


def check_service(service: str, document: Document, number: str) -> None:
    """Hold a service to all that can be said of it without knowing what else there is."""
    for key, value in document.get("labels", {}).items():
        if not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid(f"labels: {key}={value} must be of lowercase letters, digits, _ and -.")
    _check_template(service, document.get("template", {}))
    tags = [each["tag"] for each in document.get("traffic", []) if each.get("tag")]
    for tag in tags:
        label = f"{tag}---{service}-{number}"
        if not _TAG.fullmatch(tag) or len(label) > _ADDRESS_CHARACTERS:
            raise invalid(
                f"traffic: the tag {tag} makes an address of more than {_ADDRESS_CHARACTERS} characters."
            )
    if len(set(tags)) != len(tags):
        raise invalid("traffic: a tag is given twice.")


def check_traffic(traffic: Iterable[Mapping[str, Any]], revisions: Iterable[str]) -> None:
    """Hold traffic to the revisions that there are."""
    targets, known = list(traffic), set(revisions)
    for each in targets:
        if each.get("type", LATEST) == BY_REVISION and each.get("revision") not in known:
            raise invalid(f"traffic: the revision {each.get('revision')} does not exist.")
    if targets and sum(int(each.get("percent", 0)) for each in targets) != _WHOLE:
        raise invalid("traffic: percents must add up to 100.")


def switched(before: Document, after: Document) -> Document:
    """Return a service's scaling once it has been changed, with what the change unsets."""
    _check_scaling(after)
    if after.get("scalingMode") == "MANUAL":
        return {"scalingMode": "MANUAL", "manualInstanceCount": after["manualInstanceCount"]}
    bounds = {name: after[name] for name in ("minInstanceCount", "maxInstanceCount") if after.get(name)}
    if before.get("scalingMode") == "MANUAL" and after.get("maxInstanceCount") is None:
        raise invalid("scaling: from manual to automatic both bounds must be given, or neither.")
    return {"scalingMode": "AUTOMATIC", **bounds}


def _check_scaling(scaling: Document) -> None:
    if scaling.get("scalingMode") == "MANUAL" and "manualInstanceCount" not in scaling:
        raise invalid("scaling: manual scaling needs manual_instance_count.")
    least, most = scaling.get("minInstanceCount", 0), scaling.get("maxInstanceCount")
    if most is not None and least > most:
        raise invalid(f"scaling: min_instance_count {least} is above max_instance_count {most}.")


def _check_template(service: str, template: Document) -> None:
    revision = template.get("revision", "")
    if revision and (not _REVISION.fullmatch(revision) or not revision.startswith(f"{service}-")):
        raise invalid(
            f"template.revision: {revision} must begin with {service}- and have at most 63 characters."
        )
    seconds = float(template.get("timeout", "300s").removesuffix("s"))
    if not 0 < seconds <= _TIMEOUT_SECONDS:
        raise invalid(f"template.timeout: {seconds} must be at most {_TIMEOUT_SECONDS} s.")
    concurrency = template.get("maxInstanceRequestConcurrency", 80)
    if not 1 <= concurrency <= _CONCURRENCY:
        raise invalid(
            f"template.max_instance_request_concurrency: {concurrency} must be 1 to {_CONCURRENCY}."
        )
    containers = template.get("containers", [])
    if len(containers) != 1:
        raise invalid("template.containers: exactly one is expected.")
    _check_container(containers[0])


def _check_container(container: Document) -> None:
    if not container.get("image"):
        raise invalid("template.containers[0].image: is required.")
    if container.get("sourceCode") and not container.get("baseImageUri"):
        raise invalid("template.containers[0].base_image_uri: is required with source_code.")
    variables = container.get("env", [])
    names = [each["name"] for each in variables]
    if len(set(names)) != len(names):
        raise invalid("template.containers[0].env: a name is given twice.")
    for each in variables:
        if _RESERVED.fullmatch(each["name"]):
            raise invalid(f"template.containers[0].env: {each['name']} is reserved.")
        if len(each.get("value", "").encode()) > _VARIABLE_BYTES:
            raise invalid(f"template.containers[0].env: {each['name']} is larger than 32 KiB.")
    _check_size(container.get("resources", {}).get("limits", {}))


def _check_size(limits: Document) -> None:
    cpu, memory = limits.get("cpu", "1"), _MEMORY.fullmatch(limits.get("memory", "512Mi"))
    if memory is None or cpu not in _MIB_OF_CPUS:
        raise invalid(f"template.containers[0].resources: {limits} is not understood.")
    mib = int(memory[1]) * (1024 if memory[2] == "Gi" else 1)
    if not _LEAST_MIB <= mib <= _MIB_OF_CPUS[cpu]:
        raise invalid(f"template.containers[0].resources: {mib} Mi of memory does not go with {cpu} CPU.")
