"""Roles: Lambda cannot assume one that was just made, nor one that does not trust it, nor see it at once."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote

from botocore.exceptions import ClientError

from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule

_NOT_ASSUMABLE: Final = "The role defined for the function cannot be assumed by Lambda."
_SERVICE: Final = "lambda.amazonaws.com"
_CONSISTENCY: Final = (
    "IAM User Guide, Troubleshoot IAM: changes that I make are not always immediately visible"
)


@rule(
    "lambda",
    "CreateFunction",
    "UpdateFunctionConfiguration",
    document="Lambda Developer Guide, Defining Lambda function permissions with an execution role",
)
def assumable(call: Call, proceed: Proceed) -> Answer:
    """A role must trust Lambda, and for some seconds after it was made nobody can assume it.

    moto only looks whether there is one.
    """
    role = call.params.get("Role")
    if role is not None:
        made_at = call.book.roles.get(role)
        young = made_at is not None and call.book.clock - made_at <= call.timing.role_calls
        if young or not _trusts_lambda(call, role):
            raise call.refusal("InvalidParameterValueException", _NOT_ASSUMABLE)
    return proceed()


@rule("iam", "CreateRole", document=_CONSISTENCY)
def remembered(call: Call, proceed: Proceed) -> Answer:
    """When a role was made is remembered."""
    answer = proceed()
    call.book.roles[answer["Role"]["Arn"]] = call.book.clock
    return answer


@rule("iam", "GetRole", "GetRolePolicy", "ListRoleTags", "ListRolePolicies", document=_CONSISTENCY)
def not_visible_yet(call: Call, proceed: Proceed) -> Answer:
    """A read that follows at once upon the making of a role does not find it."""
    name = call.params["RoleName"]
    for arn, made_at in call.book.roles.items():
        if arn.endswith(f"/{name}") and call.book.clock - made_at <= call.timing.read_calls:
            raise call.refusal("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
    return proceed()


def _trusts_lambda(call: Call, role: str) -> bool:
    try:
        found = call.companion("iam").get_role(RoleName=role.rsplit("/", 1)[-1])["Role"]
    except ClientError:
        return False
    document: Any = found["AssumeRolePolicyDocument"]
    if isinstance(document, str):
        document = json.loads(unquote(document))
    return any(_allows(statement) for statement in _listed(document["Statement"]))


def _allows(statement: dict[str, Any]) -> bool:
    principals = statement.get("Principal", {})
    services = _listed(principals.get("Service", [])) if isinstance(principals, dict) else []
    actions = _listed(statement.get("Action", []))
    return statement.get("Effect") == "Allow" and _SERVICE in services and "sts:AssumeRole" in actions


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
