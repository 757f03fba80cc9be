"""A function's role: who may take it on (Lambda, for our functions), and all that it may do.

    trust            the trust policy
    policy           the inline policy `sluice`, which is the whole of what it may do
    other_policies   whatever else hangs on the role; there is to be nothing

A policy attached by hand would let a function read what is another's, so it is a difference like any other
and goes when the role is ensured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from deployment.errors import ForeignResource, ProviderError
from deployment.providers.aws.calls import AwsError, Calls, pages
from deployment.providers.aws.documents import normalised
from deployment.providers.aws.names import Names, from_tag_list
from deployment.resources import ObservedResource, Properties

if TYPE_CHECKING:  # they come with the development tools
    from mypy_boto3_iam import IAMClient

POLICY = "sluice"
POLL_SECONDS = 1.0
POLLS = 30
_MARKER = ("Marker", "Marker")


def wanted(trust: Mapping[str, Any], policy: Mapping[str, Any]) -> Properties:
    """Return what a role should be."""
    return {"trust": normalised(trust), "policy": normalised(policy), "other_policies": []}


@dataclass(frozen=True, slots=True)
class Identities:
    """The roles of an environment."""

    iam: IAMClient
    calls: Calls
    names: Names

    def observe(self, name: str) -> ObservedResource | None:
        """Return a function's role as it is."""
        role_name = self.names.function(name)
        answer = self.calls.maybe(self.iam.get_role, RoleName=role_name)
        if answer is None:
            return None
        role = answer["Role"]
        if not self.names.owns(from_tag_list(cast("Any", role.get("Tags", []))), name):
            return ObservedResource({}, ours=False)
        inline, attached = self._inline(role_name), self._attached(role_name)
        others = sorted([*(set(inline) - {POLICY}), *attached])
        return ObservedResource(
            {
                "trust": normalised(cast("Any", role["AssumeRolePolicyDocument"])),
                "policy": self._policy(role_name) if POLICY in inline else None,
                "other_policies": others,
            }
        )

    def ensure(self, name: str, properties: Properties) -> None:
        """Make a role as it should be, writing what differs."""
        role_name = self.names.function(name)
        found = self.observe(name) or self._created(name, properties)
        if not found.ours:
            raise ForeignResource(
                f"The IAM role {role_name} exists without this environment's tags: it is left alone."
            )
        there = found.properties
        if there["trust"] != properties["trust"]:
            trust = json.dumps(properties["trust"])
            self.calls(self.iam.update_assume_role_policy, RoleName=role_name, PolicyDocument=trust)
        if there["policy"] != properties["policy"]:
            policy = json.dumps(properties["policy"])
            self.calls(self.iam.put_role_policy, RoleName=role_name, PolicyName=POLICY, PolicyDocument=policy)
        if there["other_policies"]:
            self._take_off(role_name, keep=POLICY)

    def remove(self, name: str) -> None:
        """Remove a role that is ours."""
        found = self.observe(name)
        if found is None or not found.ours:
            return
        role_name = self.names.function(name)
        self._take_off(role_name)
        self.calls.maybe(self.iam.delete_role, RoleName=role_name)

    def _created(self, name: str, properties: Properties) -> ObservedResource:
        try:
            self.calls(
                self.iam.create_role,
                RoleName=self.names.function(name),
                AssumeRolePolicyDocument=json.dumps(properties["trust"]),
                Description=f"What Sluice's function {name} may do",
                Tags=self.names.tag_list(name),
            )
        except AwsError as error:
            if error.code != "EntityAlreadyExists":
                raise
            # Our own first attempt, or somebody who was quicker: its tags tell.
        return self._appeared(name)

    def _appeared(self, name: str) -> ObservedResource:
        """Return a role that there is, once IAM tells everybody of it: that takes it seconds."""
        for _ in range(POLLS):
            if (found := self.observe(name)) is not None:
                return found
            self.calls.wait(POLL_SECONDS)
        raise ProviderError(
            f"The IAM role {self.names.function(name)} was made, and cannot be seen after "
            f"{POLLS * POLL_SECONDS:.0f} s. Try again."
        )

    def _inline(self, role_name: str) -> list[str]:
        return pages(self.calls, self.iam.list_role_policies, "PolicyNames", _MARKER, RoleName=role_name)

    def _attached(self, role_name: str) -> list[str]:
        found = pages(
            self.calls,
            self.iam.list_attached_role_policies,
            "AttachedPolicies",
            _MARKER,
            RoleName=role_name,
        )
        return [policy["PolicyArn"] for policy in found]

    def _policy(self, role_name: str) -> dict[str, Any] | None:
        answer = self.calls.maybe(self.iam.get_role_policy, RoleName=role_name, PolicyName=POLICY)
        return normalised(cast("Any", answer["PolicyDocument"])) if answer else None

    def _take_off(self, role_name: str, keep: str = "") -> None:
        for arn in self._attached(role_name):
            self.calls.maybe(self.iam.detach_role_policy, RoleName=role_name, PolicyArn=arn)
        for inline in self._inline(role_name):
            if inline != keep:
                self.calls.maybe(self.iam.delete_role_policy, RoleName=role_name, PolicyName=inline)
