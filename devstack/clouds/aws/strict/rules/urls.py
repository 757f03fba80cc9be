"""Function URLs: one for each alias, and one for the unqualified function. moto has one in all."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule

_GUIDE: Final = "Lambda Developer Guide, Creating and managing Lambda function URLs"
_AT: Final = "2026-01-01T00:00:00Z"
_CHANGEABLE: Final = ("AuthType", "Cors", "InvokeMode")


@rule("lambda", "CreateFunctionUrlConfig", document=_GUIDE)
def created(call: Call, proceed: Proceed) -> Answer:
    """An alias has one URL of its own, which ends in a slash; a second one is a conflict.

    moto ignores the qualifier, replaces the URL it has, and takes an alias that does not exist.
    """
    del proceed
    key = _key(call)
    if key in call.function["urls"]:
        message = (
            f"Failed to create function url config for [functionArn = {_arn(call, key)}]. "
            "Error message: FunctionUrlConfig exists for this Lambda function"
        )
        raise call.refusal("ResourceConflictException", message, 409)
    config = {
        "FunctionUrl": f"https://{_name(call)}.lambda-url.{call.region}.on.aws/",
        "FunctionArn": _arn(call, key),
        "AuthType": call.params["AuthType"],
        "CreationTime": _AT,
        "LastModifiedTime": _AT,
        "InvokeMode": call.params.get("InvokeMode", "BUFFERED"),
    }
    if "Cors" in call.params:
        config["Cors"] = call.params["Cors"]
    call.function["urls"][key] = config
    return _answer(config, 201)


@rule("lambda", "GetFunctionUrlConfig", document=_GUIDE)
def read(call: Call, proceed: Proceed) -> Answer:
    """A URL is read by its own qualifier, and its ARN names that alias."""
    del proceed
    return _answer(_existing(call))


@rule("lambda", "UpdateFunctionUrlConfig", document=_GUIDE)
def updated(call: Call, proceed: Proceed) -> Answer:
    """The invoke mode changes with an update and stays without; moto never changes it."""
    del proceed
    config = _existing(call)
    config |= {name: call.params[name] for name in _CHANGEABLE if name in call.params}
    return _answer(config)


@rule("lambda", "DeleteFunctionUrlConfig", document=_GUIDE)
def deleted(call: Call, proceed: Proceed) -> Answer:
    """A deleted URL is gone for good: the next one has another name."""
    del proceed
    _existing(call)
    del call.function["urls"][_key(call)]
    return {"ResponseMetadata": {"HTTPStatusCode": 204}}


@rule("lambda", "ListFunctionUrlConfigs", document="Lambda API Reference, ListFunctionUrlConfigs")
def listed(call: Call, proceed: Proceed) -> Answer:
    """All of a function's URLs are listed; moto does not know the call."""
    del proceed
    return _answer({"FunctionUrlConfigs": [dict(each) for each in call.function["urls"].values()]})


def _answer(config: dict[str, Any], status: int = 200) -> Answer:
    return {**config, "ResponseMetadata": {"HTTPStatusCode": status}}


def _existing(call: Call) -> dict[str, Any]:
    key = _key(call)
    found = call.function["urls"].get(key)
    if found is None:
        raise call.refusal("ResourceNotFoundException", "The resource you requested does not exist.", 404)
    return found


def _key(call: Call) -> str:
    """Return the alias that the call names, $LATEST for none."""
    qualifier = call.qualifier
    if qualifier is None:
        return LATEST
    if qualifier == LATEST or qualifier.isdigit():
        raise call.refusal("ValidationException", f"Qualifier '{qualifier}': only an alias has a URL")
    if qualifier not in call.function["aliases"]:
        message = f"Function does not exist: {call.function_arn}:{qualifier}"
        raise call.refusal("ResourceNotFoundException", message, 404)
    return qualifier


def _arn(call: Call, key: str) -> str:
    return call.function_arn if key == LATEST else f"{call.function_arn}:{key}"


def _name(call: Call) -> str:
    return hashlib.sha256(f"{call.function_arn} {call.token()}".encode()).hexdigest()[:32]
