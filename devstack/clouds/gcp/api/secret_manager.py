"""Secret Manager v1: secrets, their versions, and who may read them."""

# ruff: noqa: ARG002  # every handler is called with the request and all parts of its path

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
from google.cloud.secretmanager_v1.types import AddSecretVersionRequest, Secret
from google.protobuf import json_format

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

READS = "roles/secretmanager.secretAccessor"
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MAX_BYTES = 65_536
_PAGE = 100


@dataclass
class Kept:
    """A secret, and its versions in order, the oldest first."""

    document: Document
    versions: list[Document] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)


@dataclass
class SecretManager:
    """The secrets of the project."""

    world: World
    secrets: dict[str, Kept] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        secrets = "/v1/projects/{project}/secrets"
        one = f"{secrets}/{{secret}}"
        version = f"{one}/versions/{{version}}"
        return [
            route("POST", secrets, self.create_secret),
            route("GET", one, self.get_secret),
            route("PATCH", one, self.update_secret),
            route("DELETE", one, self.delete_secret),
            route("GET", f"{one}:getIamPolicy", self.get_policy),
            route("POST", f"{one}:setIamPolicy", self.set_policy),
            route("POST", f"{one}:addVersion", self.add_version),
            route("GET", f"{one}/versions", self.list_versions),
            route("GET", f"{version}:access", self.access_version),
            route("POST", f"{version}:destroy", self.destroy_version),
            route("POST", f"{version}:disable", self.disable_version),
        ]

    def create_secret(self, request: Request, project: str) -> Answer:
        name = request.query.get("secretId", "")
        if not _ID.fullmatch(name):
            raise invalid(f"secretId {name} must be 1 to 255 letters, digits, dashes and underscores.")
        if name in self.secrets:
            raise ApiError(
                409, "ALREADY_EXISTS", f"Secret [projects/{project}/secrets/{name}] already exists."
            )
        document = _parsed(Secret, request.json)
        if "replication" not in document:
            raise invalid("Secret.replication must be provided.")
        _check_labels(document.get("labels", {}))
        document |= {
            "name": f"projects/{PROJECT_NUMBER}/secrets/{name}",
            "createTime": self.world.now(),
            "etag": self.world.token(),
        }
        self.secrets[name] = Kept(document)
        return Answer.of(document)

    def get_secret(self, request: Request, project: str, secret: str) -> Answer:
        return Answer.of(self._kept(secret).document)

    def update_secret(self, request: Request, project: str, secret: str) -> Answer:
        kept, given = self._kept(secret), _parsed(Secret, request.json)
        _check_etag(given, kept.document)
        for name in request.query.get("updateMask", "").split(","):
            if name not in {"labels", "annotations", "versionDestroyTtl", "versionAliases"}:
                raise invalid(f"{name} cannot be updated.")
            kept.document[name] = given.get(name, {})
        _check_labels(kept.document.get("labels", {}))
        kept.document["etag"] = self.world.token()
        return Answer.of(kept.document)

    def delete_secret(self, request: Request, project: str, secret: str) -> Answer:
        self._kept(secret)
        del self.secrets[secret]
        self.world.policies.pop(_resource(secret), None)
        return Answer.of({})

    def get_policy(self, request: Request, project: str, secret: str) -> Answer:
        self._kept(secret)
        return Answer.of(self.world.policy(_resource(secret)))

    def set_policy(self, request: Request, project: str, secret: str) -> Answer:
        self._kept(secret)
        return Answer.of(self.world.set_policy(_resource(secret), request.json.get("policy", {})))

    def add_version(self, request: Request, project: str, secret: str) -> Answer:
        kept = self._kept(secret)
        payload = _parsed(AddSecretVersionRequest, request.json).get("payload", {})
        value = base64.b64decode(payload.get("data", ""))
        if not value or len(value) > _MAX_BYTES:
            raise invalid(f"Secret Payload must be 1 to {_MAX_BYTES} bytes.")
        checksum = payload.get("dataCrc32c")
        if checksum is not None and int(checksum) != google_crc32c.value(value):
            raise invalid("The checksum of the payload does not match.")
        number = str(len(kept.versions) + 1)
        version = {
            "name": f"{kept.document['name']}/versions/{number}",
            "createTime": self.world.now(),
            "state": "ENABLED",
            "etag": self.world.token(),
            "clientSpecifiedPayloadChecksum": checksum is not None,
        }
        kept.versions.append(version)
        kept.values[number] = value
        return Answer.of(version)

    def list_versions(self, request: Request, project: str, secret: str) -> Answer:
        versions = list(reversed(self._kept(secret).versions))
        if request.query.get("filter") == "state:ENABLED":
            versions = [each for each in versions if each["state"] == "ENABLED"]
        size = min(int(request.query.get("pageSize") or _PAGE), _PAGE)
        begin = int(request.query.get("pageToken") or 0)
        page: Document = {"versions": versions[begin : begin + size], "totalSize": len(versions)}
        if begin + size < len(versions):
            page["nextPageToken"] = str(begin + size)
        return Answer.of(page)

    def access_version(self, request: Request, project: str, secret: str, version: str) -> Answer:
        found, value = self.readable(secret, version)
        payload = {
            "data": base64.b64encode(value).decode(),
            "dataCrc32c": str(google_crc32c.value(value)),
        }
        return Answer.of({"name": found["name"], "payload": payload})

    def destroy_version(self, request: Request, project: str, secret: str, version: str) -> Answer:
        kept, found = self._kept(secret), self._version(secret, version)
        _check_etag(request.json, found)
        if kept.document.get("versionDestroyTtl"):
            found |= {"state": "DISABLED", "scheduledDestroyTime": self.world.now()}
        else:
            found |= {"state": "DESTROYED", "destroyTime": self.world.now()}
            kept.values.pop(version, None)
        found["etag"] = self.world.token()
        return Answer.of(found)

    def disable_version(self, request: Request, project: str, secret: str, version: str) -> Answer:
        found = self._version(secret, version)
        if found["state"] == "DESTROYED":
            raise ApiError(400, "FAILED_PRECONDITION", f"{found['name']} is in DESTROYED state.")
        found |= {"state": "DISABLED", "etag": self.world.token()}
        return Answer.of(found)

    def readable(self, secret: str, version: str) -> tuple[Document, bytes]:
        """Return a version and its value.

        Raises:
            ApiError: there is none, or it is disabled or destroyed.
        """
        found = self._version(secret, version)
        if found["state"] != "ENABLED":
            raise ApiError(400, "FAILED_PRECONDITION", f"{found['name']} is in {found['state']} state.")
        number = found["name"].rpartition("/")[2]
        return found, self._kept(secret).values[number]

    def may_read(self, email: str, secret: str) -> bool:
        """Tell whether a service account may read a secret by now."""
        return self.world.may(f"serviceAccount:{email}", READS, _resource(secret))

    def _kept(self, secret: str) -> Kept:
        if secret not in self.secrets:
            raise not_found(f"Secret [projects/{PROJECT_NUMBER}/secrets/{secret}]")
        return self.secrets[secret]

    def _version(self, secret: str, version: str) -> Document:
        versions = self._kept(secret).versions
        if version == "latest":
            version = str(len(versions))
        found = next((each for each in versions if each["name"].endswith(f"/versions/{version}")), None)
        if found is None:
            raise not_found(f"Secret Version [projects/{PROJECT_NUMBER}/secrets/{secret}/versions/{version}]")
        return found


def _resource(secret: str) -> str:
    return f"projects/{PROJECT}/secrets/{secret}"


def _parsed(kind: Any, document: Document) -> Document:
    """Return a document as its message has it: unknown fields are refused, enumerations are by name."""
    message = kind.pb(kind())
    try:
        json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    parsed: Document = json_format.MessageToDict(message)
    return parsed


def _check_labels(labels: Document) -> None:
    for key, value in labels.items():
        if not _LABEL.fullmatch(key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise invalid(f"The label {key}={value} must be of lowercase letters, digits, _ and -.")


def _check_etag(given: Document, there: Document) -> None:
    if given.get("etag") not in (None, "", there["etag"]):
        raise ApiError(409, "ABORTED", "The etag provided does not match the current one.")
