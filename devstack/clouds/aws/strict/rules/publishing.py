"""Versions: only of what changed, never twice the same number, kept while an alias leads there."""

from __future__ import annotations

import copy

from devstack.clouds.aws.strict.books import FunctionBook
from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule
from devstack.clouds.aws.strict.rules.configurations import config_digest


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionCode",
    "PublishVersion",
    document="Lambda API Reference, PublishVersion; Developer Guide, Manage Lambda function versions",
)
def published(call: Call, proceed: Proceed) -> Answer:
    """A version is published only if code or configuration changed since; else the last is returned.

    moto takes every update for a change, also one with the same package.
    """
    if call.operation == "PublishVersion":
        return _publish(call, call.params.get("Description"))
    wanted = call.params.pop("Publish", False)
    answer = proceed()
    return _publish(call, None) if wanted and not call.notes.get("dry_run") else answer


@rule(
    "lambda",
    "DeleteFunction",
    document="Lambda API Reference, DeleteFunction: Qualifier; Developer Guide, Manage function versions",
)
def pruned(call: Call, proceed: Proceed) -> Answer:
    """A version that an alias leads to is not deleted, and no number is used twice.

    moto deletes any version, and counts how many there are to number the next one.
    """
    version = call.qualifier
    if version is None:
        return proceed()
    if version == LATEST:
        message = "$LATEST version cannot be deleted without deleting the function."
        raise call.refusal("InvalidParameterValueException", message)
    _known(call, version)
    users = [alias["Name"] for alias in call.aliases() if version in _versions_of(alias)]
    if users:
        arn = f"{call.function_arn}:{version}"
        message = f"Lambda was unable to delete {arn} because the following aliases reference it: {users}"
        raise call.refusal("ResourceConflictException", message, 409)
    call.function["gone"].append(version)
    for held in (call.function["records"], call.function["policies"]):
        held.pop(version, None)
    return {"ResponseMetadata": {"HTTPStatusCode": 204}, "StatusCode": 204}


@rule(
    "lambda",
    "GetFunction",
    "GetFunctionConfiguration",
    "ListVersionsByFunction",
    "CreateAlias",
    "UpdateAlias",
    document="Lambda API Reference, GetFunction: ResourceNotFoundException",
)
def hidden(call: Call, proceed: Proceed) -> Answer:
    """A deleted version is found by nobody."""
    function = call.book.function(call.function_arn)
    gone = set(function["gone"]) if function else set()
    for named in (call.qualifier, call.params.get("FunctionVersion")):
        if named in gone:
            raise _not_found(call, str(named))
    answer = proceed()
    if "Versions" in answer:
        answer["Versions"] = [each for each in answer["Versions"] if each["Version"] not in gone]
    return answer


def _publish(call: Call, description: str | None) -> Answer:
    function = call.function
    content = _content(call, function)
    last = function["published"]
    name = {"FunctionName": call.function_name}
    if last is not None and last["content"] == content and last["version"] not in function["gone"]:
        return call.send("GetFunctionConfiguration", {**name, "Qualifier": last["version"]})
    # moto publishes only after an update: without this it might return the version before.
    call.send("UpdateFunctionConfiguration", name)
    answer = call.send("PublishVersion", {**name, **({"Description": description} if description else {})})
    record = copy.deepcopy(function["records"][LATEST])
    record |= {
        "revision": call.token(),
        "polls": call.timing.polls,
        "state": "Pending",
        "update": "Successful",
    }
    function["records"][answer["Version"]] = record
    function["published"] = {"version": answer["Version"], "content": content}
    return answer


def _content(call: Call, function: FunctionBook) -> str:
    config = call.send("GetFunctionConfiguration", {"FunctionName": call.function_name})
    record = function["records"][LATEST]
    return f"{record['sha']} {config_digest(config | record['settings'])}"


def _versions_of(alias: Answer) -> set[str]:
    extra = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {alias["FunctionVersion"], *extra}


def _known(call: Call, version: str) -> None:
    if version not in call.function["records"]:
        raise _not_found(call, version)


def _not_found(call: Call, version: str) -> Exception:
    return call.refusal(
        "ResourceNotFoundException", f"Function not found: {call.function_arn}:{version}", 404
    )
