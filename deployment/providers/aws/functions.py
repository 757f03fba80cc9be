"""A Lambda function as a whole: whether there is one, whose it is, and how it becomes ready.

Every other module of a function's asks here before it writes: what does not carry our tags is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployment.errors import ForeignResource, ProviderError, WorldMoved
from deployment.providers.aws.calls import Calls
from deployment.providers.aws.names import Names

if TYPE_CHECKING:  # they come with the development tools
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef, GetFunctionResponseTypeDef

POLL_SECONDS = 1.0
POLLS = 300
"""Lambda takes seconds to take a change in, minutes at the very most."""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of an environment."""

    client: LambdaClient
    calls: Calls
    names: Names

    def find(self, name: str) -> GetFunctionResponseTypeDef | None:
        """Return a function, ours or not."""
        return self.calls.maybe(self.client.get_function, FunctionName=self.names.function(name))

    def is_ours(self, name: str, found: GetFunctionResponseTypeDef) -> bool:
        return self.names.owns(found.get("Tags", {}), name)

    def require(self, name: str) -> GetFunctionResponseTypeDef:
        """Return a function that is there and ours.

        Raises:
            WorldMoved: it is not there.
            ForeignResource: it does not carry our tags.
        """
        found = self.find(name)
        if found is None:
            raise WorldMoved(f"The Lambda function {self.names.function(name)} is gone: plan again.")
        self.refuse_foreign(name, found)
        return found

    def refuse_foreign(self, name: str, found: GetFunctionResponseTypeDef) -> None:
        """Return when a function carries our tags, and raise ForeignResource when it does not."""
        if not self.is_ours(name, found):
            raise ForeignResource(
                f"The Lambda function {self.names.function(name)} exists without this environment's tags: "
                "it is left alone."
            )

    def settled(self, name: str, version: str = "$LATEST") -> FunctionConfigurationResponseTypeDef:
        """Return a version's configuration once Lambda has taken the last change to it in.

        Raises:
            ProviderError: Lambda could not, or takes too long; the text holds its reason.
        """
        function_name = self.names.function(name)
        for _ in range(POLLS):
            found = self.calls(
                self.client.get_function_configuration, FunctionName=function_name, Qualifier=version
            )
            if found.get("State") == "Failed":
                raise ProviderError(f"{function_name} ({version}) failed: {found.get('StateReason', '')}")
            if found.get("LastUpdateStatus") == "Failed":
                # The next update may well succeed: what is published is compared with what was wanted.
                return found
            if found.get("State") != "Pending" and found.get("LastUpdateStatus") != "InProgress":
                return found
            self.calls.wait(POLL_SECONDS)
        raise ProviderError(f"{function_name} ({version}) is not ready after {POLLS * POLL_SECONDS:.0f} s.")
