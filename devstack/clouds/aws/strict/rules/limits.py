"""What a function may be at most, and what may stand in its configuration. moto takes anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
_ENVIRONMENT_BYTES: Final = 4096
_BOUNDS: Final = {"Timeout": (1, 900), "MemorySize": (128, 10_240)}
_REFUSED_VARIABLES: Final = (
    "Lambda was unable to configure your environment variables because the environment variables you "
    "have provided"
)
_RESERVED: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionConfiguration",
    document="Lambda Developer Guide, Lambda quotas; Working with Lambda environment variables",
)
def within_limits(call: Call, proceed: Proceed) -> Answer:
    """900 s, 10,240 MB, names of 64 characters, 4 KB of variables, none of which is Lambda's own."""
    for code, message in _problems(call):
        raise call.refusal(code, message)
    return proceed()


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionConfiguration",
    document="Lambda Developer Guide, Lambda runtimes",
)
def known_runtime(call: Call, proceed: Proceed) -> Answer:
    """A runtime is one of those that the service's own model lists, and a zip needs one."""
    runtime = call.params.get("Runtime")
    model: Any = call.client.meta.service_model.shape_for("Runtime")
    if runtime is not None and runtime not in model.enum:
        message = (
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set"
        )
        raise call.refusal("InvalidParameterValueException", message)
    if call.operation == "CreateFunction" and runtime is None and call.params.get("PackageType") != "Image":
        raise call.refusal("InvalidParameterValueException", "Runtime is mandatory for a deployment package")
    return proceed()


def _problems(call: Call) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(call.function_name):
        yield (
            "ValidationException",
            f"Value '{call.function_name}' at 'functionName' failed to satisfy constraint",
        )
    for name, (least, most) in _BOUNDS.items():
        value = call.params.get(name)
        if value is not None and not least <= value <= most:
            yield "ValidationException", f"Value '{value}' at '{name}' must be from {least} to {most}"
    yield from _variable_problems(call.params.get("Environment", {}).get("Variables", {}))


def _variable_problems(variables: dict[str, Any]) -> Iterator[tuple[str, str]]:
    code = "InvalidParameterValueException"
    reserved = sorted(_RESERVED.intersection(variables))
    if reserved:
        yield code, f"{_REFUSED_VARIABLES} contains reserved keys that cannot be modified: {reserved}"
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            yield "ValidationException", f"'{name}' is no name of an environment variable"
    if len(json.dumps(variables, separators=(",", ":")).encode()) > _ENVIRONMENT_BYTES:
        yield code, f"{_REFUSED_VARIABLES} exceeded the 4KB limit."
