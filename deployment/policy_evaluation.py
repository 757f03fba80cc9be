"""What a policy document lets pass: `simulate` decides one action on one resource, as IAM does.

The emulated AWS does not evaluate policies. This does, for its gateway to the secrets and for the proof that
no function reads another's; it knows what our documents use, and errs on the side of denial with the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def simulate(
    document: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Tell whether a role with this one policy may do `action` on `resource`.

    As IAM decides it: a statement that denies wins, and what no statement allows is denied. What this does
    not know (an operator, an element) never allows anything and always denies.

    Args:
        document: the policy; `Statement` may be one or a list.
        action: such as `secretsmanager:GetSecretValue`.
        resource: an ARN.
        context: the request's condition keys, such as `s3:prefix`; keys in any case.
    """
    keys = {key.lower(): value for key, value in (context or {}).items()}
    statements = statements_of(document)
    if any(_applies(each, action, resource, keys, unknown=True) for each in statements if _denies(each)):
        return False
    return any(_applies(each, action, resource, keys, unknown=False) for each in statements if _allows(each))


def statements_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a document's statements; a single one may stand without a list."""
    given = document.get("Statement", [])
    return [given] if isinstance(given, Mapping) else list(given)


def _denies(statement: Mapping[str, Any]) -> bool:
    return bool(statement.get("Effect") != "Allow")


def _allows(statement: Mapping[str, Any]) -> bool:
    return bool(statement.get("Effect") == "Allow")


def _applies(
    statement: Mapping[str, Any], action: str, resource: str, keys: Mapping[str, str], *, unknown: bool
) -> bool:
    return (
        _names(statement, "Action", action, ignore_case=True)
        and _names(statement, "Resource", resource)
        and _holds(statement.get("Condition", {}), keys, unknown=unknown)
    )


def _names(statement: Mapping[str, Any], element: str, value: str, *, ignore_case: bool = False) -> bool:
    """Tell whether `Action` or `Resource`, or else its opposite, takes in a value."""
    if element in statement:
        return any(matches(each, value, ignore_case=ignore_case) for each in as_list(statement[element]))
    opposite = as_list(statement.get(f"Not{element}", ["*"]))
    return not any(matches(each, value, ignore_case=ignore_case) for each in opposite)


def matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Tell whether a pattern takes in a value: `*` is any text, `?` any one character, slashes included."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _holds(condition: Mapping[str, Any], keys: Mapping[str, str], *, unknown: bool) -> bool:
    return all(
        _compares(operator, keys.get(key.lower()), as_list(values), unknown=unknown)
        for operator, tests in condition.items()
        for key, values in tests.items()
    )


def _compares(operator: str, actual: str | None, values: Sequence[Any], *, unknown: bool) -> bool:
    """Evaluate one test of a condition; a key that the request lacks fails it, unless it is negated."""
    name = operator.removesuffix("IfExists")
    negated = "Not" in name
    if name.replace("Not", "") not in {"StringEquals", "StringLike", "ArnEquals", "ArnLike", "Bool"}:
        return unknown
    if actual is None:
        return negated or operator.endswith("IfExists")
    wanted = [str(value).lower() if name == "Bool" else str(value) for value in values]
    like = name.endswith("Like") or name.startswith("Arn")
    found = any(matches(each, actual) if like else each == actual for each in wanted)
    return found is not negated


def as_list(value: Any) -> list[Any]:
    """Return an element of a policy as a list: a single value may stand for a list of one."""
    return [value] if isinstance(value, str | bool | int) else list(value)
