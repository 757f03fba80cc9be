"""Who may call an alias: anybody, through its URL and in no other way.

Since October 2025 Lambda wants two statements for that, and answers 403 while one is missing: one lets
everybody use the URL, the other lets calls that came through the URL run the function.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployment.providers.aws.calls import AwsError
from deployment.providers.aws.documents import normalised_statement
from deployment.providers.aws.functions import Functions

_REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "url": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    "invoke": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}
"""By the statement's id: what Lambda is asked for."""
_CONDITIONS: Mapping[str, Any] = {
    "url": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
    "invoke": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
}

PUBLIC: Mapping[str, Any] = {
    sid: normalised_statement(
        {"Effect": "Allow", "Principal": "*", "Action": request["Action"], "Condition": _CONDITIONS[sid]}
    )
    for sid, request in _REQUESTS.items()
}
"""By the statement's id: the statements of an alias that is called through its URL."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """The resource policies of an environment's functions."""

    functions: Functions

    def observe(self, name: str, alias: str | None) -> dict[str, Any]:
        """Return who may call an alias, or (None) any version of the function, by the statement's id."""
        function_name = self.functions.names.function(name)
        client, calls = self.functions.client, self.functions.calls
        if alias is None:
            answer = calls.maybe(client.get_policy, FunctionName=function_name)
        else:
            answer = calls.maybe(client.get_policy, FunctionName=function_name, Qualifier=alias)
        statements = json.loads(answer["Policy"])["Statement"] if answer else []
        return {each["Sid"]: _without_resource(each) for each in statements}

    def ensure(self, name: str, alias: str | None, wanted: Mapping[str, Any]) -> None:
        """Make an alias callable by whom it should be, and by nobody else."""
        there = self.observe(name, alias)
        for sid, statement in there.items():
            if wanted.get(sid) != statement:
                self._remove(name, alias, sid)
        for sid, statement in wanted.items():
            if there.get(sid) != statement:
                self._add(name, alias, sid)

    def _add(self, name: str, alias: str | None, sid: str) -> None:
        try:
            self.functions.calls(
                self.functions.client.add_permission,
                StatementId=sid,
                Principal="*",
                **self._target(name, alias),
                **_REQUESTS[sid],
            )
        except AwsError as error:
            # Our own first attempt; one of the same name that says something else was removed just before.
            if error.code != "ResourceConflictException" or error.attempts == 1:
                raise

    def _remove(self, name: str, alias: str | None, sid: str) -> None:
        self.functions.calls.maybe(
            self.functions.client.remove_permission, StatementId=sid, **self._target(name, alias)
        )

    def _target(self, name: str, alias: str | None) -> dict[str, Any]:
        target = {"FunctionName": self.functions.names.function(name)}
        return target | ({"Qualifier": alias} if alias else {})


def _without_resource(statement: Mapping[str, Any]) -> dict[str, Any]:
    return normalised_statement(
        {key: each for key, each in statement.items() if key not in {"Sid", "Resource"}}
    )
