"""IAM v1, service accounts; Resource Manager v1, the project and its policy."""

# ruff: noqa: ARG002  # every handler is called with the request and all parts of its path

from __future__ import annotations

import re
from dataclasses import dataclass

from devstack.clouds.gcp.api.requests import (
    Answer,
    ApiError,
    Document,
    Request,
    Route,
    invalid,
    not_found,
    route,
)
from devstack.clouds.gcp.api.world import PROJECT, PROJECT_NUMBER, World

_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")
_DESCRIPTION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Accounts:
    """The service accounts of the project, and the project itself."""

    world: World

    def routes(self) -> list[Route]:
        accounts = "/v1/projects/{project}/serviceAccounts"
        return [
            route("POST", accounts, self.create_account),
            route("GET", f"{accounts}/{{email}}", self.get_account),
            route("PATCH", f"{accounts}/{{email}}", self.patch_account),
            route("DELETE", f"{accounts}/{{email}}", self.delete_account),
            route("GET", "/v1/projects/{project}", self.get_project),
            route("POST", "/v1/projects/{project}:getIamPolicy", self.get_policy, writes=False),
            route("POST", "/v1/projects/{project}:setIamPolicy", self.set_policy),
        ]

    def create_account(self, request: Request, project: str) -> Answer:
        _own(project)
        identity = str(request.json.get("accountId", ""))
        if not _ID.fullmatch(identity):
            raise invalid(f"accountId {identity} must be 6 to 30 lowercase letters, digits and dashes.")
        email = f"{identity}@{PROJECT}.iam.gserviceaccount.com"
        if email in self.world.accounts:
            raise ApiError(
                409,
                "ALREADY_EXISTS",
                f"Service account {identity} already exists within project projects/{PROJECT}.",
            )
        given = request.json.get("serviceAccount", {})
        if len(given.get("description", "")) > _DESCRIPTION_CHARACTERS:
            raise invalid("The description is longer than 256 bytes.")
        account = {
            "name": f"projects/{PROJECT}/serviceAccounts/{email}",
            "projectId": PROJECT,
            "email": email,
            "uniqueId": f"1{self.world.number():020d}",
            "displayName": given.get("displayName", ""),
            "description": given.get("description", ""),
            "etag": self.world.token(),
        }
        self.world.add_account(email, account)
        return Answer.of(account)

    def get_account(self, request: Request, project: str, email: str) -> Answer:
        return Answer.of(self._account(project, email))

    def patch_account(self, request: Request, project: str, email: str) -> Answer:
        account = self._account(project, email)
        given = request.json.get("serviceAccount", {})
        for name in request.json.get("updateMask", "").split(","):
            if name not in {"description", "displayName"}:
                raise invalid(f"{name} cannot be updated.")
            account[name] = given.get(name, "")
        return Answer.of(account)

    def delete_account(self, request: Request, project: str, email: str) -> Answer:
        self._account(project, email)
        self.world.forget_account(email)
        return Answer.of({})

    def get_project(self, request: Request, project: str) -> Answer:
        _own(project)
        return Answer.of({"projectId": PROJECT, "projectNumber": PROJECT_NUMBER, "lifecycleState": "ACTIVE"})

    def get_policy(self, request: Request, project: str) -> Answer:
        _own(project)
        return Answer.of(self.world.policy(f"projects/{PROJECT}"))

    def set_policy(self, request: Request, project: str) -> Answer:
        _own(project)
        return Answer.of(self.world.set_policy(f"projects/{PROJECT}", request.json.get("policy", {})))

    def _account(self, project: str, email: str) -> Document:
        if project != "-":
            _own(project)
        if email not in self.world.accounts:
            raise not_found(f"Service account {email}")
        return self.world.accounts[email]


def _own(project: str) -> None:
    if project not in {PROJECT, PROJECT_NUMBER}:
        raise ApiError(403, "PERMISSION_DENIED", f"The caller does not have permission on project {project}.")
