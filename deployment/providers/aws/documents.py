"""Policy documents, brought into one form, so that two that say the same are equal.

IAM and Lambda give a document back much as it was sent, but a list of one may come as its only entry, the
order of a list means nothing, and a principal that is everybody has two spellings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_LISTS = ("Action", "NotAction", "Resource", "NotResource")


def normalised(document: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return a policy document in the one form."""
    read: Mapping[str, Any] = json.loads(document) if isinstance(document, str) else document
    statements = read.get("Statement", [])
    each = statements if isinstance(statements, list) else [statements]
    return {**read, "Statement": sorted((normalised_statement(one) for one in each), key=_text)}


def normalised_statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement in the one form."""
    changed = {key: _list(value) if key in _LISTS else value for key, value in statement.items()}
    if "Principal" in statement:
        changed["Principal"] = _principal(statement["Principal"])
    if "Condition" in statement:
        changed["Condition"] = {
            operator: {key: _condition(value) for key, value in keys.items()}
            for operator, keys in statement["Condition"].items()
        }
    return json.loads(json.dumps(changed, sort_keys=True))  # type: ignore[no-any-return]


def _list(value: Any) -> list[str]:
    return sorted(value) if isinstance(value, list) else [value]


def _principal(value: Any) -> Any:
    if value in ("*", {"AWS": "*"}, {"AWS": ["*"]}):
        return "*"
    if isinstance(value, Mapping):
        return {kind: _list(names) for kind, names in value.items()}
    return value


def _condition(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    # A condition's values are text, whatever they were written as: true and "true" are one.
    return sorted(str(one).lower() if isinstance(one, bool) else str(one) for one in values)


def _text(statement: Mapping[str, Any]) -> str:
    return json.dumps(statement, sort_keys=True)
