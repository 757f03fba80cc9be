"""What the emulated services share: who there is, who may do what on what, and tokens that never repeat."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from devstack.clouds.gcp.api.requests import ApiError, Document, invalid

PROJECT = "sluice-emulated"
PROJECT_NUMBER = "123456789012"
_PRINCIPALS = ("serviceAccount:", "user:", "group:", "allUsers", "allAuthenticatedUsers", "deleted:")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, counted in calls so that a test need not wait."""

    operation_polls: int = 2
    """Looks at an operation, or at what it changes, before it is done."""
    account_calls: int = 2
    """Writes that name a new service account and are refused, because not all of Google knows of it."""
    grant_checks: int = 1
    """Revisions that still cannot read a secret after their account was let to."""


@dataclass
class World:
    """The state behind all of the APIs."""

    pace: Pace = field(default_factory=Pace)
    accounts: dict[str, Document] = field(default_factory=dict)
    """By e-mail address."""
    policies: dict[str, Document] = field(default_factory=dict)
    """By the resource's full name; one without a policy has none yet."""
    _unknown: dict[str, int] = field(default_factory=dict)
    """Of new accounts, how many more calls do not know of them."""
    _grants: dict[tuple[str, str], int] = field(default_factory=dict)
    """Of new grants, how many more checks do not see them: by resource and member."""
    _last: int = 0

    def number(self) -> int:
        """Return a number above all before it."""
        self._last += 1
        return self._last

    def token(self) -> str:
        """Return an etag that was never there before."""
        return f"etag-{self.number():06d}"

    def now(self) -> str:
        """Return the time, later at each call, as the APIs write it."""
        moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=self.number())
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def add_account(self, email: str, account: Document) -> None:
        self.accounts[email] = account
        self._unknown[email] = self.pace.account_calls

    def forget_account(self, email: str) -> None:
        """Remove an account; its bindings stay, and are nobody's, also when one of its name is made again."""
        account = self.accounts.pop(email)
        gone = f"deleted:serviceAccount:{email}?uid={account['uniqueId']}"
        for policy in self.policies.values():
            for binding in policy["bindings"]:
                members = [gone if one == f"serviceAccount:{email}" else one for one in binding["members"]]
                binding["members"] = members

    def require_account(self, email: str) -> None:
        """Return when a call may name an account."""
        remaining = self._unknown.get(email, 0)
        if remaining:
            self._unknown[email] = remaining - 1
        if remaining or email not in self.accounts:
            raise ApiError(
                403,
                "PERMISSION_DENIED",
                f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} "
                "(or it may not exist).",
            )

    def policy(self, resource: str) -> Document:
        return self.policies.get(resource, {"version": 1, "etag": "etag-none", "bindings": []})

    def set_policy(self, resource: str, wanted: Document) -> Document:
        """Replace a policy; one that somebody changed meanwhile is refused, as is an unknown member."""
        before = self.policy(resource)
        if wanted.get("etag") not in (None, "", before["etag"]):
            raise ApiError(409, "ABORTED", "There were concurrent policy changes. Please retry.")
        bindings = [_binding(each) for each in wanted.get("bindings", []) if each.get("members")]
        conditional = any("condition" in each for each in bindings)
        if conditional and wanted.get("version") != 3:
            raise invalid("A policy with conditional bindings needs version 3.")
        for member in sorted({member for each in bindings for member in each["members"]}):
            self._require_member(member)
        self._note_grants(resource, before, bindings)
        policy = {"version": 3 if conditional else 1, "etag": self.token(), "bindings": bindings}
        self.policies[resource] = policy
        return policy

    def may(self, member: str, role: str, resource: str) -> bool:
        """Tell whether a member has a role on a resource, or on the project, by now."""
        wanted = [
            each
            for name in (resource, f"projects/{PROJECT}")
            for each in self.policy(name)["bindings"]
            if each["role"] == role and member in each["members"]
        ]
        remaining = self._grants.get((resource, member), 0)
        if remaining:
            self._grants[resource, member] = remaining - 1
        return bool(wanted) and not remaining

    def _require_member(self, member: str) -> None:
        if not member.startswith(_PRINCIPALS):
            raise invalid(f"Invalid member {member}.")
        email = member.removeprefix("serviceAccount:")
        if not member.startswith("serviceAccount:"):
            return
        remaining = self._unknown.get(email, 0)
        if remaining:
            self._unknown[email] = remaining - 1
        if remaining or email not in self.accounts:
            raise invalid(f"Service account {email} does not exist.")

    def _note_grants(self, resource: str, before: Document, bindings: list[Document]) -> None:
        had = {member for each in before["bindings"] for member in each["members"]}
        for member in {member for each in bindings for member in each["members"]} - had:
            self._grants[resource, member] = self.pace.grant_checks


def _binding(given: Document) -> Document:
    made: dict[str, Any] = {"role": given["role"], "members": sorted(set(given["members"]))}
    if "condition" in given:
        made["condition"] = given["condition"]
    return made
