"""What a version is made of: a state, as Lambda's configuration. Pure.

Whoever publishes compares what Lambda has with all of this, and with what is to be as Lambda makes it by
itself (`NEUTRAL`): a version never holds what somebody set by hand under a fingerprint that does not say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployment.errors import Refused
from deployment.states import FunctionState

HANDLER = "run.sh"
PORT = "8080"
SECRETS_VARIABLE = "SLUICE_SECRETS"
ENVIRONMENT_LIMIT_BYTES = 4096
_DESCRIPTION = "sluice "
NEUTRAL: Mapping[str, Any] = {
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
    "DeadLetterConfig": {"TargetArn": ""},
    "KMSKeyArn": "",
    "TracingConfig": {"Mode": "PassThrough"},
    "EphemeralStorage": {"Size": 512},
    "FileSystemConfigs": [],
    "SnapStart": {"ApplyOn": "None"},
}
"""What nobody sets here, and how Lambda has it then."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that makes a version."""

    description: str
    """By which the version is found again; it is part of what is published."""
    settings: Mapping[str, Any]
    """Lambda's own names and values."""
    architecture: str
    sha256: str
    """The package's digest as Lambda tells it (base64)."""
    code: Mapping[str, Any]
    """Where Lambda finds the package."""


def description_of(fingerprint: str) -> str:
    """Return the description of the version that has a fingerprint."""
    return f"{_DESCRIPTION}{fingerprint}"


def fingerprint_of(description: str) -> str:
    """Return the fingerprint that a version's description holds; empty when it was not made by us."""
    return description.removeprefix(_DESCRIPTION) if description.startswith(_DESCRIPTION) else ""


def settings_of(state: FunctionState, *, role_arn: str, streams: bool) -> dict[str, Any]:
    """Return the settings of a state's version.

    Raises:
        Refused: the variables are larger than Lambda allows.
    """
    fingerprint = state.fingerprint
    assert fingerprint is not None, "a state is resolved before it is published"
    variables = {**state.variables, **_platform_variables(state, streams=streams)}
    size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if size_bytes > ENVIRONMENT_LIMIT_BYTES:
        raise Refused(
            f"{state.name}: its variables take {size_bytes:,} bytes, and Lambda allows "
            f"{ENVIRONMENT_LIMIT_BYTES:,}. Leave out what has a default, or shorten values."
        )
    return {
        "Description": description_of(fingerprint),
        "Environment": {"Variables": variables},
        "Handler": HANDLER,
        "Layers": list(state.layers),
        "MemorySize": state.memory_mb,
        "Role": role_arn,
        "Runtime": f"python{state.python}",
        "Timeout": state.timeout_seconds,
    }


def _platform_variables(state: FunctionState, *, streams: bool) -> dict[str, str]:
    variables = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",  # Lambda Web Adapter's; it runs the handler, run.sh
        "AWS_LWA_INVOKE_MODE": "response_stream" if streams else "buffered",
        "AWS_LWA_PORT": PORT,
        # The framework itself answers this path, so that readiness checks never reach the handler.
        "AWS_LWA_READINESS_CHECK_PATH": "/robots.txt",
        "FUNCTION_TARGET": state.name,
        "THREADS": str(state.concurrency),
    }
    if state.secrets:
        pins = {
            variable: {"id": pin.name, "version": pin.version}
            for variable, pin in sorted(state.secrets.items())
        }
        variables[SECRETS_VARIABLE] = json.dumps(pins, separators=(",", ":"))
    return variables


def is_code_of(found: Mapping[str, Any], blueprint: Blueprint) -> bool:
    """Return whether a version holds the blueprint's package, for its architecture."""
    architectures = found.get("Architectures", ["x86_64"])
    return found.get("CodeSha256") == blueprint.sha256 and architectures == [blueprint.architecture]


def differing(found: Mapping[str, Any], blueprint: Blueprint) -> dict[str, Any]:
    """Return what has to be written so that a version has the blueprint's settings; empty when it has."""
    settings = _settings_in(found)
    set_by_hand = {
        key: neutral for key, neutral in NEUTRAL.items() if not _is_neutral(found.get(key), neutral)
    }
    if settings == dict(blueprint.settings) and not set_by_hand:
        return {}
    return {**blueprint.settings, **set_by_hand}


def _settings_in(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Description": found.get("Description", ""),
        "Environment": {"Variables": dict(found.get("Environment", {}).get("Variables", {}))},
        "Handler": found.get("Handler"),
        "Layers": [layer["Arn"] for layer in found.get("Layers", [])],
        "MemorySize": found.get("MemorySize"),
        "Role": found.get("Role"),
        "Runtime": found.get("Runtime"),
        "Timeout": found.get("Timeout"),
    }


def _is_neutral(value: Any, neutral: Any) -> bool:
    """Return whether a setting is as Lambda makes it; Lambda leaves out much that nobody set."""
    if not value:
        return True
    if isinstance(neutral, Mapping):
        return all(not value.get(key) or value[key] == wanted for key, wanted in neutral.items())
    return bool(value == neutral)
