"""Revisions: made of a service's template, and ready if what they need is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devstack.clouds.gcp.api.requests import ApiError, Document
from devstack.clouds.gcp.api.secret_manager import SecretManager
from devstack.clouds.gcp.api.storage import Storage
from devstack.clouds.gcp.api.world import PROJECT_NUMBER, World

READY = "Ready"
_GZIP = b"\x1f\x8b"
_COPIED = (
    "labels",
    "annotations",
    "timeout",
    "serviceAccount",
    "containers",
    "maxInstanceRequestConcurrency",
    "executionEnvironment",
    "scaling",
)


@dataclass(frozen=True, slots=True)
class Ground:
    """What revisions stand on."""

    world: World
    secrets: SecretManager
    storage: Storage

    def failure(self, revision: Document) -> tuple[str, str]:
        """Return why a revision does not become ready, as a reason and a text; empty if it does."""
        container = revision["containers"][0]
        try:
            self._check_source(container)
        except ApiError as error:
            return "CONTAINER_MISSING", str(error)
        account = revision["serviceAccount"]
        references = (each.get("valueSource", {}).get("secretKeyRef") for each in container.get("env", []))
        # All of them are looked at each time: each look is one by which a new right comes into effect.
        texts = [self._unreadable(account, reference) for reference in references if reference]
        text = " ".join(filter(None, texts))
        return ("SECRETS_ACCESS_CHECK_FAILED", text) if text else ("", "")

    def package(self, revision: Document) -> tuple[str, bytes]:
        """Return what a revision's source is told by, and its bytes.

        Raises:
            ApiError: it is not there any more.
        """
        source = revision["containers"][0]["sourceCode"]["cloudStorageSource"]
        found = self.storage.find(source["bucket"], source["object"])
        return f"{source['bucket']}/{source['object']}#{found.generation}", found.content

    def environment(self, revision: Document) -> dict[str, str]:
        """Return a revision's variables, with the secrets' values as its account may read them.

        Raises:
            ApiError: it may not read one of them.
        """
        variables: dict[str, str] = {}
        for each in revision["containers"][0].get("env", []):
            reference = each.get("valueSource", {}).get("secretKeyRef")
            if reference is None:
                variables[each["name"]] = each.get("value", "")
                continue
            if text := self._unreadable(revision["serviceAccount"], reference):
                raise ApiError(403, "PERMISSION_DENIED", text)
            _, value = self.secrets.readable(reference["secret"], reference["version"])
            variables[each["name"]] = value.decode()
        return variables

    def _check_source(self, container: Mapping[str, Any]) -> None:
        source = container.get("sourceCode", {}).get("cloudStorageSource")
        if source is None:
            return
        found = self.storage.find(source["bucket"], source["object"])
        wanted = str(source.get("generation") or found.generation)
        if wanted != found.generation:
            raise ApiError(404, "NOT_FOUND", f"{source['object']} has no generation {wanted}.")
        if not found.content.startswith(_GZIP):
            raise ApiError(400, "INVALID_ARGUMENT", f"{source['object']} is no tar.gz archive.")

    def _unreadable(self, account: str, reference: Mapping[str, str]) -> str:
        secret, version = reference["secret"], reference.get("version", "latest")
        if not self.secrets.may_read(account, secret):
            return (
                f"Permission denied on secret: {secret}/versions/{version} for Revision service account "
                f"{account}. It must be granted the 'Secret Manager Secret Accessor' role."
            )
        try:
            self.secrets.readable(secret, version)
        except ApiError as error:
            return str(error)
        return ""


def made_of(template: Document, name: str, service: str, number: int, world: World) -> Document:
    """Return a new revision, that is not ready yet."""
    return {
        "serviceAccount": f"{PROJECT_NUMBER}-compute@developer.gserviceaccount.com",
        **{key: template[key] for key in _COPIED if key in template},
        "name": f"{service}/revisions/{name}",
        "service": service,
        "generation": str(number),
        "uid": f"{world.number():032x}",
        "createTime": world.now(),
        "etag": world.token(),
        "reconciling": True,
        "conditions": [{"type": READY, "state": "CONDITION_PENDING"}],
    }


def conclude(revision: Document, ground: Ground) -> str:
    """Make a revision ready, or say why it is not: returns the text of a failure."""
    reason, text = ground.failure(revision)
    if reason:
        condition = {"type": READY, "state": "CONDITION_FAILED", "message": text, "reason": reason}
    else:
        condition = {"type": READY, "state": "CONDITION_SUCCEEDED"}
    revision |= {"reconciling": False, "conditions": [condition]}
    return text


def is_ready(revision: Document) -> bool:
    return any(
        each["type"] == READY and each["state"] == "CONDITION_SUCCEEDED" for each in revision["conditions"]
    )
