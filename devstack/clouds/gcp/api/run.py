"""Cloud Run Admin v2: services, their revisions, and operations that take a while.

A write answers with an operation. Until that is done the service is `reconciling`: it is taken in after as
many looks at it as the pace says, whoever looks. A look at another service's takes nothing forward.
"""

# ruff: noqa: ARG002  # every handler is called with the request and all parts of its path

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.cloud.run_v2.types import Service as Message
from google.protobuf import json_format

from devstack.clouds.gcp.api import run_rules
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
from devstack.clouds.gcp.api.run_revisions import Ground, conclude, is_ready, made_of
from devstack.clouds.gcp.api.world import PROJECT, PROJECT_NUMBER

_TYPE = "type.googleapis.com/google.cloud.run.v2."
_SETTABLE = (
    "description",
    "labels",
    "annotations",
    "client",
    "clientVersion",
    "ingress",
    "template",
    "traffic",
    "scaling",
    "invokerIamDisabled",
    "defaultUriDisabled",
)
_EVERYTHING = [{"type": run_rules.LATEST, "percent": 100}]


@dataclass
class Service:
    """A service and its revisions, in the order in which they were made."""

    id: str
    document: Document
    revisions: dict[str, Document] = field(default_factory=dict)
    routed: list[Document] = field(default_factory=list)
    """The traffic that it serves now; what is wanted stands in the document."""
    made: int = 0
    remaining: int = 0
    """Looks until the last change has been taken in."""
    removing: bool = False
    failure: str = ""


@dataclass
class Run:
    """The services of one region."""

    ground: Ground
    region: str
    services: dict[str, Service] = field(default_factory=dict)
    operations: dict[str, tuple[str, Document]] = field(default_factory=dict)
    """By name, whose it is and what it answers once it is done."""

    def routes(self) -> list[Route]:
        place = "/v2/projects/{project}/locations/{region}"
        one = f"{place}/services/{{service}}"
        return [
            route("POST", f"{place}/services", self.create_service),
            route("GET", one, self.get_service),
            route("PATCH", one, self.update_service),
            route("DELETE", one, self.delete_service),
            route("GET", f"{one}/revisions", self.list_revisions),
            route("GET", f"{one}/revisions/{{revision}}", self.get_revision),
            route("DELETE", f"{one}/revisions/{{revision}}", self.delete_revision),
            route("GET", f"{place}/operations/{{operation}}", self.get_operation),
        ]

    def create_service(self, request: Request, project: str, region: str) -> Answer:
        self._check_place(project, region)
        name = request.query.get("serviceId", "")
        run_rules.check_name(name)
        if name in self.services:
            raise ApiError(409, "ALREADY_EXISTS", f"Resource '{name}' already exists.")
        given = _parsed(request.json)
        document = {key: given[key] for key in _SETTABLE if key in given}
        document["scaling"] = run_rules.switched({}, document.get("scaling", {}))
        self._check(name, document, [])
        service = Service(name, document | self._made(name))
        if not request.validates_only:
            self.services[name] = service
            self._revise(service)
            self._begin(service)
        return self._operation(service, done=request.validates_only)

    def get_service(self, request: Request, project: str, region: str, service: str) -> Answer:
        self._check_place(project, region)
        found = self._service(service)
        self._advance(found)
        return Answer.of(self._told(self._service(service)))

    def update_service(self, request: Request, project: str, region: str, service: str) -> Answer:
        self._check_place(project, region)
        found = self._service(service)
        given = _parsed(request.json)
        if given.get("etag") not in (None, "", found.document["etag"]):
            raise ApiError(
                409,
                "ABORTED",
                f"Conflict for resource '{service}': version was specified, but current is another.",
            )
        changed = self._changed(found, given, request.query.get("updateMask", ""))
        name = changed["template"].get("revision", "")
        revises = changed["template"] != found.document["template"]
        if revises and name in found.revisions:
            raise ApiError(
                409, "ALREADY_EXISTS", f"Revision named '{name}' with different configuration already exists."
            )
        coming = [name] if revises and name else []
        self._check(service, changed, [*found.revisions, *coming])
        if not request.validates_only:
            self._finish(found)
            found.document = changed | {
                "etag": self.ground.world.token(),
                "updateTime": self.ground.world.now(),
            }
            found.document["generation"] = str(int(found.document["generation"]) + 1)
            if revises:
                self._revise(found)
            self._begin(found)
        return self._operation(found, done=request.validates_only)

    def delete_service(self, request: Request, project: str, region: str, service: str) -> Answer:
        self._check_place(project, region)
        found = self._service(service)
        found.removing = True
        self._begin(found)
        return self._operation(found)

    def list_revisions(self, request: Request, project: str, region: str, service: str) -> Answer:
        self._check_place(project, region)
        if service not in self.services:
            return Answer.of({})
        self._advance(self.services[service])
        revisions = list(reversed(self._service(service).revisions.values()))
        size, begin = int(request.query.get("pageSize") or 100), int(request.query.get("pageToken") or 0)
        page: Document = {"revisions": revisions[begin : begin + size]}
        if begin + size < len(revisions):
            page["nextPageToken"] = str(begin + size)
        return Answer.of(page)

    def get_revision(
        self, request: Request, project: str, region: str, service: str, revision: str
    ) -> Answer:
        self._check_place(project, region)
        found = self._service(service)
        self._advance(found)
        return Answer.of(self._revision(found, revision))

    def delete_revision(
        self, request: Request, project: str, region: str, service: str, revision: str
    ) -> Answer:
        self._check_place(project, region)
        found = self._service(service)
        self._revision(found, revision)
        if any(each.get("revision") == revision for each in (*found.routed, *found.document["traffic"])):
            text = f"Revision {revision} is receiving traffic, or has a tag, and cannot be deleted."
            raise ApiError(400, "FAILED_PRECONDITION", text)
        if revision == list(found.revisions)[-1]:
            text = f"Revision {revision} is the latest created one and cannot be deleted."
            raise ApiError(400, "FAILED_PRECONDITION", text)
        del found.revisions[revision]
        return self._operation(found, done=True, kind="Revision")

    def get_operation(self, request: Request, project: str, region: str, operation: str) -> Answer:
        self._check_place(project, region)
        if operation not in self.operations:
            raise not_found(f"Operation {operation}")
        owner, answer = self.operations[operation]
        service = self.services.get(owner)
        if service is not None:
            self._advance(service)
        return Answer.of(self._told_operation(operation, owner, answer))

    def leads_to(self, service: str, tag: str) -> list[tuple[Document, int]]:
        """Return the revisions that an address leads to, and how many per cent of the calls each gets."""
        found = self.services.get(service)
        if found is None or found.removing:
            return []
        chosen = [each for each in found.routed if (each.get("tag") == tag if tag else each.get("percent"))]
        return [(self._target(found, each), 100 if tag else int(each["percent"])) for each in chosen]

    def is_stopped(self, service: str) -> bool:
        """Tell whether a service has been scaled to nothing by hand."""
        scaling = self.services[service].document["scaling"]
        return scaling.get("scalingMode") == "MANUAL" and not scaling.get("manualInstanceCount")

    def _target(self, service: Service, target: Document) -> Document:
        if target.get("type", run_rules.LATEST) == run_rules.LATEST:
            return service.revisions[self._latest_ready(service)]
        return service.revisions[target["revision"]]

    def _check_place(self, project: str, region: str) -> None:
        if project not in {PROJECT, PROJECT_NUMBER} or region != self.region:
            raise ApiError(
                403, "PERMISSION_DENIED", f"No permission on projects/{project}/locations/{region}."
            )

    def _check(self, service: str, document: Document, revisions: list[str]) -> None:
        run_rules.check_service(service, document, PROJECT_NUMBER)
        known = revisions or [document["template"].get("revision", "")]
        run_rules.check_traffic(document.get("traffic", []), known)
        account = document["template"].get("serviceAccount", "")
        if account:
            self.ground.world.require_account(account)

    def _changed(self, service: Service, given: Document, mask: str) -> Document:
        names = mask.split(",") if mask else [key for key in _SETTABLE if key in given]
        changed = dict(service.document)
        for name in names:
            if name not in _SETTABLE:
                raise invalid(f"update_mask: {name} cannot be updated.")
            changed.pop(name, None)
            if name in given:
                changed[name] = given[name]
        changed.setdefault("traffic", [dict(each) for each in _EVERYTHING])
        if "scaling" in names:
            changed["scaling"] = run_rules.switched(service.document["scaling"], changed.get("scaling", {}))
        return changed

    def _made(self, name: str) -> Document:
        world = self.ground.world
        return {
            "name": f"projects/{PROJECT}/locations/{self.region}/services/{name}",
            "uid": f"{world.number():032x}",
            "generation": "1",
            "createTime": world.now(),
            "etag": world.token(),
        }

    def _revise(self, service: Service) -> None:
        service.made += 1
        template = service.document["template"]
        name = template.get("revision") or f"{service.id}-{service.made:05d}-{service.made:03x}"
        revision = made_of(template, name, service.document["name"], service.made, self.ground.world)
        service.revisions[name] = revision

    def _begin(self, service: Service) -> None:
        service.document.setdefault("traffic", [dict(each) for each in _EVERYTHING])
        service.remaining = self.ground.world.pace.operation_polls
        if not service.remaining:
            self._finish(service)

    def _advance(self, service: Service) -> None:
        if service.remaining:
            service.remaining -= 1
            if not service.remaining:
                self._finish(service)

    def _finish(self, service: Service) -> None:
        """Take the last change in: revisions become ready or fail, traffic is led, or the service goes."""
        service.remaining = 0
        if service.removing:
            self.services.pop(service.id, None)
            return
        service.failure = ""
        for revision in service.revisions.values():
            if revision["reconciling"]:
                service.failure = conclude(revision, self.ground) or service.failure
        if any(not self._may_serve(service, each) for each in service.document["traffic"]):
            service.failure = service.failure or "A revision that traffic is led to is not ready."
            return
        service.routed = [dict(each) for each in service.document["traffic"]]

    def _may_serve(self, service: Service, target: Document) -> bool:
        if target.get("type", run_rules.LATEST) == run_rules.LATEST:
            return bool(self._latest_ready(service))
        return is_ready(service.revisions[target["revision"]])

    def _latest_ready(self, service: Service) -> str:
        ready = [name for name, revision in service.revisions.items() if is_ready(revision)]
        return ready[-1] if ready else ""

    def _told(self, service: Service) -> Document:
        generation = int(service.document["generation"])
        state = "CONDITION_FAILED" if service.failure else "CONDITION_SUCCEEDED"
        label = f"{service.id}-{PROJECT_NUMBER}.{self.region}.run.app"
        last = list(service.revisions)[-1]
        told: dict[str, Any] = {
            **service.document,
            "reconciling": bool(service.remaining),
            "observedGeneration": str(generation - bool(service.remaining)),
            "terminalCondition": {
                "type": "Ready",
                "state": "CONDITION_RECONCILING" if service.remaining else state,
                "message": service.failure,
            },
            "latestCreatedRevision": f"{service.document['name']}/revisions/{last}",
            "trafficStatuses": [
                {**each, "uri": f"https://{each['tag']}---{label}"} if each.get("tag") else each
                for each in service.routed
            ],
            "uri": f"https://{label}",
            "urls": [f"https://{label}", f"https://{service.id}-h4shed-ew.a.run.app"],
        }
        if ready := self._latest_ready(service):
            told["latestReadyRevision"] = f"{service.document['name']}/revisions/{ready}"
        return told

    def _operation(self, service: Service, *, done: bool = False, kind: str = "Service") -> Answer:
        name = f"{self.ground.world.number():08d}"
        answer: Document = {"done": True, "response": {"@type": f"{_TYPE}{kind}"}} if done else {}
        self.operations[name] = (service.id, answer)
        return Answer.of(self._told_operation(name, service.id, self.operations[name][1]))

    def _told_operation(self, name: str, owner: str, answer: Document) -> Document:
        told = {"name": f"projects/{PROJECT}/locations/{self.region}/operations/{name}", **answer}
        service = self.services.get(owner)
        if answer:
            return told
        if service is None:
            return told | {"done": True, "response": {"@type": f"{_TYPE}Service"}}
        if service.remaining:
            return told | {"done": False}
        if service.failure:
            return told | {"done": True, "error": {"code": 9, "message": service.failure}}
        return told | {"done": True, "response": {"@type": f"{_TYPE}Service", **self._told(service)}}

    def _service(self, name: str) -> Service:
        if name not in self.services:
            raise not_found(f"Resource '{name}' of kind 'SERVICE' in region '{self.region}'")
        return self.services[name]

    def _revision(self, service: Service, name: str) -> Document:
        if name not in service.revisions:
            raise not_found(f"Resource '{name}' of kind 'REVISION' in region '{self.region}'")
        return service.revisions[name]


def _parsed(document: Document) -> Document:
    """Return a service as its message has it: unknown fields are refused, enumerations are by name."""
    message: Any = Message.pb(Message())
    try:
        json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    parsed: Document = json_format.MessageToDict(message)
    return parsed
