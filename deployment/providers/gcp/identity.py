"""A function's service account, and all that it may do, resource by resource.

    on.<resource>    its roles on a secret of the environment, on the bucket of images, on the project

Wanted is `secretAccessor` on its own secrets and no role on any other secret or on the project, so that one
given by hand is a difference like any other and goes when the identity is ensured. Rights hang on what they
are about: a secret that is not there yet can be read by nobody, and is bound once it is there.

A service account takes no labels; its description says whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployment.errors import ForeignResource, ProviderError
from deployment.policies import Binding
from deployment.providers.gcp.bindings import Grant, Policies, Policy, granted
from deployment.providers.gcp.calls import Calls, GcpError
from deployment.providers.gcp.clients import Rest
from deployment.providers.gcp.names import Names
from deployment.resources import ObservedResource, Properties

POLL_SECONDS = 1.0
POLLS = 60
_ON = "on."


def wanted(bindings: Sequence[Binding]) -> Properties:
    """Return what an identity should be."""
    grants: dict[str, list[Grant]] = {}
    for each in bindings:
        grants.setdefault(each.resource, []).append(Grant(each.role, each.condition))
    return {f"{_ON}{resource}": [str(grant) for grant in sorted(on)] for resource, on in grants.items()}


@dataclass(frozen=True, slots=True)
class Identities:
    """The service accounts of an environment."""

    rest: Rest
    calls: Calls
    names: Names
    policies: Policies
    resources: Sequence[str]
    """On what a function could have a role: all secrets of the environment, images, the project."""

    def look(self) -> Mapping[str, Policy | None]:
        """Return the policies of all these resources, for `observe`."""
        return {resource: self.policies.of(resource) for resource in self.resources}

    def observe(
        self, name: str, bindings: Sequence[Binding], policies: Mapping[str, Policy | None]
    ) -> ObservedResource | None:
        """Return a function's identity as it is.

        Args:
            name: the function's.
            bindings: what it should have, which is what it has of secrets that are not there.
            policies: what `look` returned.
        """
        account = self._account(name)
        if account is None:
            return None
        if not self._is_ours(name, account):
            return ObservedResource({}, ours=False)
        due, member = wanted(bindings), self.names.member(name)
        found: dict[str, Any] = {}
        for resource, policy in policies.items():
            key = f"{_ON}{resource}"
            if policy is not None:
                found[key] = [str(grant) for grant in granted(policy, member)]
            elif _is_secret(resource) and key in due:
                found[key] = due[key]
        return ObservedResource({key: grants for key, grants in found.items() if grants})

    def ensure(self, name: str, bindings: Sequence[Binding]) -> None:
        """Make a service account, and let it have what it should and no more."""
        account = self._account(name) or self._created(name)
        if not self._is_ours(name, account):
            raise ForeignResource(
                f"The service account {self.names.account(name)} exists and does not say that it is this "
                "environment's: it is left alone."
            )
        for resource in self.resources:
            self._grant(name, resource, bindings)

    def remove(self, name: str) -> None:
        """Remove a service account that is ours, with its rights: those first, they would stay without it."""
        account = self._account(name)
        if account is None or not self._is_ours(name, account):
            return
        for resource in self.resources:
            self.policies.grant_only(resource, self.names.member(name), [])
        self.calls.maybe(self.rest.delete, "iam", self._path(name))

    def _grant(self, name: str, resource: str, bindings: Sequence[Binding]) -> None:
        grants = [Grant(each.role, each.condition) for each in bindings if each.resource == resource]
        if grants and _is_secret(resource) and self.policies.of(resource) is None:
            return
        self.policies.grant_only(resource, self.names.member(name), grants)

    def _path(self, name: str) -> str:
        return f"/v1/{self.names.project}/serviceAccounts/{self.names.account(name)}"

    def _account(self, name: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.calls.maybe(self.rest.get, "iam", self._path(name))
        return found

    def _is_ours(self, name: str, account: Mapping[str, Any]) -> bool:
        return self.names.describes(account.get("description", ""), name)

    def _created(self, name: str) -> Mapping[str, Any]:
        body = {
            "accountId": self.names.account_id(name),
            "serviceAccount": {
                "displayName": f"Sluice's function {name}",
                "description": self.names.description(name),
            },
        }
        try:
            self.calls(self.rest.post, "iam", f"/v1/{self.names.project}/serviceAccounts", body)
        except GcpError as error:
            if not error.conflicts:
                raise
            # Our own first attempt, or somebody's who was quicker: its description tells.
        for _ in range(POLLS):
            if (found := self._account(name)) is not None:
                return found
            self.calls.wait(POLL_SECONDS)
        raise ProviderError(
            f"The service account {self.names.account(name)} was made, and cannot be seen after "
            f"{POLLS * POLL_SECONDS:.0f} s. Try again."
        )


def _is_secret(resource: str) -> bool:
    return "/secrets/" in resource
