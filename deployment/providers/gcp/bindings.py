"""What members may do on resources, by the policies of these: secrets, the bucket of images, the project.

A policy belongs to everybody who has rights on the resource, so a change reads it, replaces one member's part
and writes it back under its etag; whoever was quicker makes it be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deployment.errors import ProviderError
from deployment.providers.gcp.calls import Calls, GcpError
from deployment.providers.gcp.clients import Rest

VERSION: Final = 3
"""The version of policies that knows conditions; whoever asks for less would write them back without."""
ROUNDS = 12
TITLE = "sluice-images"
_BUCKETS = "projects/_/buckets/"

Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A role that a member has on a resource."""

    role: str
    condition: str = ""
    """An expression that must hold as well; empty: none."""

    def __str__(self) -> str:
        return f"{self.role} if {self.condition}" if self.condition else self.role


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of resources, by their full names."""

    rest: Rest
    calls: Calls

    def of(self, resource: str) -> Policy | None:
        """Return a resource's policy; None when there is no such resource."""
        found: Policy | None = self.calls.maybe(self._reading(resource))
        return found

    def grant_only(self, resource: str, member: str, grants: Sequence[Grant]) -> None:
        """Let a member have exactly these roles on a resource; nothing is written when it has them.

        Raises:
            ProviderError: there is no such resource, or others keep changing its policy.
        """
        for _ in range(ROUNDS):
            policy = self.of(resource)
            if policy is None:
                if not grants:
                    return
                raise ProviderError(f"{resource} is not there: nobody can be let to use it.")
            if granted(policy, member) == sorted(grants):
                return
            try:
                self.calls(self._writing(resource), _with(policy, member, grants))
            except GcpError as error:
                if not error.conflicts:
                    raise
        raise ProviderError(f"The policy of {resource} is changed by others all the time.")

    def _reading(self, resource: str) -> Callable[[], Any]:
        def read_policy() -> Any:
            if resource.startswith(_BUCKETS):
                path = f"/storage/v1/b/{resource.removeprefix(_BUCKETS)}/iam"
                return self.rest.get("storage", path, optionsRequestedPolicyVersion=VERSION)
            if "/secrets/" in resource:
                path = f"/v1/{resource}:getIamPolicy"
                return self.rest.get("secretmanager", path, **{"options.requestedPolicyVersion": VERSION})
            body = {"options": {"requestedPolicyVersion": VERSION}}
            return self.rest.post("cloudresourcemanager", f"/v1/{resource}:getIamPolicy", body)

        return read_policy

    def _writing(self, resource: str) -> Callable[[Policy], Any]:
        def write_policy(policy: Policy) -> Any:
            if resource.startswith(_BUCKETS):
                path = f"/storage/v1/b/{resource.removeprefix(_BUCKETS)}/iam"
                return self.rest.put("storage", path, policy)
            service = "secretmanager" if "/secrets/" in resource else "cloudresourcemanager"
            return self.rest.post(service, f"/v1/{resource}:setIamPolicy", {"policy": policy})

        return write_policy


def granted(policy: Policy, member: str) -> list[Grant]:
    """Return the roles that a policy gives to a member by name, sorted."""
    return sorted(
        Grant(each["role"], each.get("condition", {}).get("expression", ""))
        for each in policy.get("bindings", [])
        if member in each.get("members", [])
    )


def _with(policy: Policy, member: str, grants: Sequence[Grant]) -> dict[str, Any]:
    """Return a policy in which a member has exactly these roles, and everybody else what he had."""
    bindings = []
    for each in policy.get("bindings", []):
        members = [one for one in each.get("members", []) if one != member]
        if members:
            bindings.append({**each, "members": members})
    for grant in grants:
        binding: dict[str, Any] = {"role": grant.role, "members": [member]}
        if grant.condition:
            binding["condition"] = {"title": TITLE, "expression": grant.condition}
        bindings.append(binding)
    conditional = any("condition" in each for each in bindings)
    version = VERSION if conditional else policy.get("version", 1)
    return {**policy, "version": version, "bindings": bindings}
