"""Settings that moto takes and forgets, and layers that it does not know."""

from __future__ import annotations

import re
from typing import Any

from botocore.exceptions import ClientError

from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule

_KEPT = (
    "Architectures",
    "DeadLetterConfig",
    "EphemeralStorage",
    "FileSystemConfigs",
    "ImageConfig",
    "KMSKeyArn",
    "LoggingConfig",
    "SnapStart",
    "TracingConfig",
)
_DEFAULTS: dict[str, Any] = {
    "Architectures": ["x86_64"],
    "EphemeralStorage": {"Size": 512},
    "SnapStart": {"ApplyOn": "None"},
    "TracingConfig": {"Mode": "PassThrough"},
}
# Lambda Web Adapter's publisher; its layers may be used by everybody.
_PUBLIC = re.compile(r"arn:aws:lambda:([a-z0-9-]+):753240598075:layer:LambdaAdapterLayer(?:X86|Arm64):\d+")
_LAYER = re.compile(r"arn:aws:lambda:([a-z0-9-]+):(\d{12}):layer:([A-Za-z0-9_-]+):(\d+)")
_MOST_LAYERS = 5
_PUBLIC_LAYER_BYTES = 1_500_000


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionConfiguration",
    "UpdateFunctionCode",
    document="Lambda API Reference, CreateFunction and UpdateFunctionConfiguration: request body",
)
def kept(call: Call, proceed: Proceed) -> Answer:
    """Logging, tracing, storage, key, dead letters, architecture are kept and returned; moto forgets them."""
    given = {name: call.params.pop(name) for name in _KEPT if name in call.params}
    answer = proceed()
    settings = call.function["records"][LATEST]["settings"]
    if call.operation == "CreateFunction":
        log_group = f"/aws/lambda/{call.function_name}"
        settings |= _DEFAULTS | {"LoggingConfig": {"LogFormat": "Text", "LogGroup": log_group}}
    for name, value in given.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value
    return answer


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionConfiguration",
    document="Lambda Developer Guide, Managing Lambda dependencies with layers; Lambda quotas",
)
def layered(call: Call, proceed: Proceed) -> Answer:
    """At most five layers, each of which exists; Lambda Web Adapter's public ones do.

    moto knows no layer of another account, and attaches any number of its own.
    """
    arns = call.params.pop("Layers", None)
    layers = None if arns is None else [_layer(call, arn) for arn in arns]
    if layers is not None and len(layers) > _MOST_LAYERS:
        raise call.refusal("InvalidParameterValueException", "Cannot reference more than 5 layers.")
    answer = proceed()
    if layers is not None:
        call.function["records"][LATEST]["settings"]["Layers"] = layers
    return answer


def _layer(call: Call, arn: str) -> Answer:
    public = _PUBLIC.fullmatch(arn)
    if public and public[1] == call.region:
        return {"Arn": arn, "CodeSize": _PUBLIC_LAYER_BYTES}
    own = _LAYER.fullmatch(arn)
    if own is None or own[1] != call.region or own[2] != call.account:
        raise call.refusal("InvalidParameterValueException", f"Layer version {arn} does not exist.")
    try:
        found = call.companion("lambda").get_layer_version(LayerName=own[3], VersionNumber=int(own[4]))
    except ClientError as error:
        raise call.refusal(
            "InvalidParameterValueException", f"Layer version {arn} does not exist."
        ) from error
    return {"Arn": arn, "CodeSize": found["Content"].get("CodeSize", 0)}
