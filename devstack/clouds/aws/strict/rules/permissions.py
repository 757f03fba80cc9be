"""Resource policies: one for the function, one for each version and alias. moto has one for all of them.

The revision of a policy is that of the alias or version it belongs to (measured against AWS by localstack,
pull request 7482), so that granting something makes the alias's revision id stale.
"""

from __future__ import annotations

import json
from typing import Any, Final

from devstack.clouds.aws.strict.calls import LATEST, Answer, Call, Proceed, rule
from devstack.clouds.aws.strict.rules.revisions import check

_GUIDE: Final = "Lambda API Reference, AddPermission; Developer Guide, Control access to Lambda function URLs"
_ACCOUNT_DIGITS: Final = 12


@rule("lambda", "AddPermission", document=_GUIDE)
def added(call: Call, proceed: Proceed) -> Answer:
    """A statement belongs to its qualifier, its id is used once, and its conditions are conditions.

    moto leaves FunctionUrlAuthType and InvokedViaFunctionUrl outside Condition, where nobody evaluates them,
    and takes the same statement id twice.
    """
    del proceed
    _check_action(call)
    key = _key(call)
    _guard(call, key)
    statements = call.function["policies"].setdefault(key, [])
    statement_id = call.params["StatementId"]
    if any(each["Sid"] == statement_id for each in statements):
        message = (
            f"The statement id ({statement_id}) provided already exists. Please provide a new statement id, "
            "or remove the existing statement."
        )
        raise call.refusal("ResourceConflictException", message, 409)
    statement = _statement(call, key)
    statements.append(statement)
    _touch(call, key)
    return {"Statement": json.dumps(statement), "ResponseMetadata": {"HTTPStatusCode": 201}}


@rule("lambda", "GetPolicy", document="Lambda API Reference, GetPolicy")
def read(call: Call, proceed: Proceed) -> Answer:
    """A policy is read by its own qualifier; one without a statement does not exist."""
    del proceed
    key = _key(call)
    statements = call.function["policies"].get(key)
    if not statements:
        raise call.refusal("ResourceNotFoundException", "The resource you requested does not exist.", 404)
    policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
    return {
        "Policy": json.dumps(policy),
        "RevisionId": _revision(call, key),
        "ResponseMetadata": {"HTTPStatusCode": 200},
    }


@rule("lambda", "RemovePermission", document="Lambda API Reference, RemovePermission")
def removed(call: Call, proceed: Proceed) -> Answer:
    """Only the statement of that id under that qualifier goes, and a missing one is an error."""
    del proceed
    key = _key(call)
    statement_id = call.params["StatementId"]
    statements = call.function["policies"].get(key, [])
    left = [each for each in statements if each["Sid"] != statement_id]
    if len(left) == len(statements):
        message = f"Statement {statement_id} is not found in resource policy."
        raise call.refusal("ResourceNotFoundException", message, 404)
    _guard(call, key)
    call.function["policies"][key] = left
    _touch(call, key)
    return {"ResponseMetadata": {"HTTPStatusCode": 204}}


def _check_action(call: Call) -> None:
    action = call.params["Action"]
    wrong = ("FunctionUrlAuthType" in call.params and action != "lambda:InvokeFunctionUrl") or (
        "InvokedViaFunctionUrl" in call.params and action != "lambda:InvokeFunction"
    )
    if wrong:
        message = f"FunctionUrlAuthType and InvokedViaFunctionUrl are not supported for {action}"
        raise call.refusal("InvalidParameterValueException", message)


def _statement(call: Call, key: str) -> dict[str, Any]:
    params = call.params
    resource = call.function_arn if key == LATEST else f"{call.function_arn}:{key}"
    statement = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(params["Principal"]),
        "Action": params["Action"],
        "Resource": resource,
    }
    condition: dict[str, dict[str, str]] = {}
    if "FunctionUrlAuthType" in params:
        condition["StringEquals"] = {"lambda:FunctionUrlAuthType": params["FunctionUrlAuthType"]}
    if "SourceAccount" in params:
        condition.setdefault("StringEquals", {})["AWS:SourceAccount"] = params["SourceAccount"]
    if "PrincipalOrgID" in params:
        condition.setdefault("StringEquals", {})["aws:PrincipalOrgID"] = params["PrincipalOrgID"]
    if "InvokedViaFunctionUrl" in params:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": str(params["InvokedViaFunctionUrl"]).lower()}
    if "SourceArn" in params:
        condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
    return {**statement, "Condition": condition} if condition else statement


def _principal(principal: str) -> Any:
    if principal == "*":
        return principal
    if principal.isdigit() and len(principal) == _ACCOUNT_DIGITS:
        return {"AWS": f"arn:aws:iam::{principal}:root"}
    return {"AWS" if principal.startswith("arn:") else "Service": principal}


def _key(call: Call) -> str:
    qualifier = call.qualifier
    function = call.function
    if qualifier is None:
        return LATEST
    if qualifier == LATEST:
        message = "We currently do not support adding policies for $LATEST."
        raise call.refusal("InvalidParameterValueException", message)
    if qualifier not in function["aliases"] and qualifier not in function["records"]:
        message = f"Cannot find alias arn: {call.function_arn}:{qualifier}"
        raise call.refusal("ResourceNotFoundException", message, 404)
    return qualifier


def _guard(call: Call, key: str) -> None:
    wanted = call.params.get("RevisionId")
    if wanted is not None:
        check(call, wanted, _revision(call, key))


def _revision(call: Call, key: str) -> str:
    function = call.function
    return function["aliases"][key] if key in function["aliases"] else function["records"][key]["revision"]


def _touch(call: Call, key: str) -> None:
    function = call.function
    if key in function["aliases"]:
        function["aliases"][key] = call.token()
    else:
        function["records"][key]["revision"] = call.token()
