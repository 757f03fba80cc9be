"""Aliases: valid weights, versions that exist, a revision id that changes, the documented errors."""

from __future__ import annotations

from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule
from devstack.clouds.aws.strict.rules.revisions import check

_GUIDE = "Lambda Developer Guide, Implement Lambda canary deployments using a weighted alias"


@rule("lambda", "CreateAlias", "UpdateAlias", document=_GUIDE)
def valid(call: Call, proceed: Proceed) -> Answer:
    """Weights are from 0 to 1, of one further published version beside a published one; moto takes any.

    A second alias of a name is a ResourceConflictException; moto calls it ConflictException.
    """
    name = call.params["Name"]
    exists = name in call.function["aliases"]
    if call.operation == "CreateAlias" and name.isdigit():
        raise call.refusal("ValidationException", f"'{name}' is a version number, no name for an alias")
    if call.operation == "CreateAlias" and exists:
        message = f"Alias already exists: {call.function_arn}:{name}"
        raise call.refusal("ResourceConflictException", message, 409)
    if call.operation == "UpdateAlias" and not exists:
        raise call.refusal("ResourceNotFoundException", f"Alias not found: {call.function_arn}:{name}", 404)
    version = call.params.get("FunctionVersion")
    if version is None:
        version = call.alias(name)["FunctionVersion"]
    _exists(call, version)
    weights = (call.params.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    _check_weights(call, version, weights)
    return proceed()


@rule(
    "lambda",
    "CreateAlias",
    "UpdateAlias",
    "GetAlias",
    "ListAliases",
    "DeleteAlias",
    document="Lambda API Reference, UpdateAlias: RevisionId; AliasConfiguration",
)
def guarded(call: Call, proceed: Proceed) -> Answer:
    """Each change of an alias makes a new revision id, and a stale one is refused; moto's never changes.

    A deleted alias takes its URL and its policy with it.
    """
    wanted = call.params.pop("RevisionId", None)
    revisions = call.function["aliases"]
    name = call.params.get("Name", "")
    if wanted is not None:
        check(call, wanted, revisions.get(name, ""))
    answer = proceed()
    if call.operation == "DeleteAlias":
        revisions.pop(name, None)
        call.function["urls"].pop(name, None)
        call.function["policies"].pop(name, None)
    elif call.operation in {"CreateAlias", "UpdateAlias"}:
        revisions[name] = call.token()
    for alias in answer.get("Aliases", [answer] if "AliasArn" in answer else []):
        alias["RevisionId"] = revisions[alias["Name"]]
        if not (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights"):
            alias.pop("RoutingConfig", None)
    return answer


@rule("lambda", "ListAliases", document="Lambda API Reference, ListAliases: FunctionVersion")
def filtered(call: Call, proceed: Proceed) -> Answer:
    """Only the aliases of the version that was named are listed; moto lists all."""
    version = call.params.get("FunctionVersion")
    answer = proceed()
    if version is not None:
        answer["Aliases"] = [alias for alias in answer["Aliases"] if alias["FunctionVersion"] == version]
    return answer


def _check_weights(call: Call, version: str, weights: dict[str, float]) -> None:
    if not weights:
        return
    if len(weights) > 1:
        raise call.refusal(
            "InvalidParameterValueException", "Number of items in AdditionalVersionWeights cannot exceed 1"
        )
    if version == LATEST or LATEST in weights:
        message = "$LATEST is not supported for an alias pointing to more than 1 version"
        raise call.refusal("InvalidParameterValueException", message)
    for other, weight in weights.items():
        _exists(call, other)
        if other == version:
            message = f"Invalid function version {other}. Function version {version} is already included."
            raise call.refusal("InvalidParameterValueException", message)
        if not 0.0 <= weight <= 1.0:
            message = f"Value '{weight}' at 'routingConfig' must be between 0.0 and 1.0"
            raise call.refusal("ValidationException", message)


def _exists(call: Call, version: str) -> None:
    if version not in call.function["records"]:
        raise call.refusal(
            "ResourceNotFoundException", f"Function not found: {call.function_arn}:{version}", 404
        )
