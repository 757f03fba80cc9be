"""How many calls a function may take at once: its reserved concurrency, a cap on what it can cost.

None of it is left while the function is stopped: Lambda then answers 429 to every call, its probes' too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployment.providers.aws.functions import Functions
from deployment.resources import ObservedResource, Properties

if TYPE_CHECKING:  # they come with the development tools
    from mypy_boto3_lambda.type_defs import GetFunctionResponseTypeDef


def wanted(reserved: int | None, *, stopped: bool) -> Properties:
    """Return what a function's capacity should be; None takes from what the account has unreserved."""
    return {"reserved_concurrency": 0 if stopped else reserved}


@dataclass(frozen=True, slots=True)
class Capacities:
    """The reserved concurrency of an environment's functions."""

    functions: Functions

    def observe(self, found: GetFunctionResponseTypeDef) -> ObservedResource:
        """Return a function's capacity as it is."""
        reserved = found.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        return ObservedResource(wanted(reserved, stopped=False))

    def ensure(self, name: str, properties: Properties) -> None:
        """Reserve for a function what it should have."""
        if self.observe(self.functions.require(name)).properties == properties:
            return
        client, calls = self.functions.client, self.functions.calls
        function_name = self.functions.names.function(name)
        reserved = properties["reserved_concurrency"]
        if reserved is None:
            calls.maybe(client.delete_function_concurrency, FunctionName=function_name)
            return
        calls(
            client.put_function_concurrency,
            FunctionName=function_name,
            ReservedConcurrentExecutions=reserved,
        )
