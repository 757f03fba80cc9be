"""Secrets and their versions, in Secret Manager.

The current version is the newest that is enabled. Revisions pin versions by number, so those stay enabled
until nothing pins them any more; then they are destroyed (in a protected environment Google keeps them,
disabled, for another month).

Adding a version is the one write that Google does not take twice for once. So before each attempt the
newest version is looked at: if it holds the value already, an answer was lost, and it is the one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.types import (
    AccessSecretVersionRequest,
    AddSecretVersionRequest,
    ListSecretVersionsRequest,
    Replication,
    Secret,
    SecretPayload,
    SecretVersion,
)

from deployment.errors import ForeignResource, MissingSecret
from deployment.providers.attempts import ATTEMPTS, pause_seconds
from deployment.providers.gcp.calls import ONCE, Calls, GcpError
from deployment.providers.gcp.names import Names
from deployment.secret_store import SecretState
from deployment.states import SecretPin

KEPT_SECONDS = 30 * 24 * 3600
"""How long a protected environment's versions can be had back after they were destroyed."""
_ENABLED = "state:ENABLED"
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one environment (`deployment.secret_store.SecretStore`)."""

    client: SecretManagerServiceClient
    calls: Calls
    names: Names

    def describe(self, names: Iterable[str]) -> Mapping[str, SecretState]:
        found = {name: self._state(name) for name in names}
        return {name: state for name, state in found.items() if state is not None}

    def read(self, pin: SecretPin) -> str:
        request = AccessSecretVersionRequest(name=f"{self.names.secret(pin.name)}/versions/{pin.version}")
        try:
            answer = self.calls(self.client.access_secret_version, request, **ONCE)
        except GcpError as error:
            # Disabled and destroyed ones are there, and cannot be read.
            if error.missing or error.code == "FAILED_PRECONDITION":
                raise MissingSecret(f"The secret {pin.name} has no version {pin.version}.") from error
            raise
        return answer.payload.data.decode()

    def put(self, name: str, value: str, *, request_id: str) -> str:  # noqa: ARG002  # see above
        self._ensure(name)
        attempt = 0
        while True:
            if (newest := self._newest(name)) is not None and self.read(SecretPin(name, newest)) == value:
                return newest
            attempt += 1
            try:
                return self._add(name, value)
            except GcpError as error:
                if not error.transient or attempt == ATTEMPTS:
                    raise
                self.calls.wait(pause_seconds(attempt))

    def keep_only(self, pins: Iterable[SecretPin]) -> None:
        pinned: dict[str, set[str]] = {}
        for pin in pins:
            pinned.setdefault(pin.name, set()).add(pin.version)
        for name, kept in pinned.items():
            found = self._found(name)
            if found is None or not self.names.owns(found.labels):
                continue
            current, *older = self._enabled(name) or [""]
            for version in older:
                if version not in kept | {current}:
                    full = f"{self.names.secret(name)}/versions/{version}"
                    self.calls.maybe(self.client.destroy_secret_version, name=full, **ONCE)

    def remove(self, name: str) -> None:
        found = self._found(name)
        if found is not None and self.names.owns(found.labels):
            self.calls.maybe(self.client.delete_secret, name=self.names.secret(name), **ONCE)

    def _state(self, name: str) -> SecretState | None:
        found = self._found(name)
        versions = self._enabled(name) if found is not None else []
        if found is None or not versions:
            return None
        return SecretState(name, versions[0], tuple(versions), ours=self.names.owns(found.labels))

    def _ensure(self, name: str) -> None:
        """Make a secret without a value."""
        found = self._found(name) or self._created(name)
        if not self.names.owns(found.labels):
            raise ForeignResource(
                f"The secret {name} exists without this environment's labels: it is left alone."
            )

    def _created(self, name: str) -> Secret:
        wanted = Secret(
            replication=Replication(automatic=Replication.Automatic()), labels=self.names.labels()
        )
        if self.names.environment.protected:
            wanted.version_destroy_ttl = dt.timedelta(seconds=KEPT_SECONDS)
        settings: dict[str, Any] = {"parent": self.names.project, "secret_id": name, "secret": wanted}
        try:
            return self.calls(self.client.create_secret, **settings, **ONCE)
        except GcpError as error:
            found = self._found(name) if error.conflicts else None
            if found is None:
                raise
            return found  # our own first attempt, or somebody's who was quicker: its labels tell

    def _add(self, name: str, value: str) -> str:
        data = value.encode()
        payload = SecretPayload(data=data, data_crc32c=google_crc32c.value(data))
        request = AddSecretVersionRequest(parent=self.names.secret(name), payload=payload)
        added = self.calls.once(value, self.client.add_secret_version, request, **ONCE)
        return _number(added)

    def _found(self, name: str) -> Secret | None:
        return self.calls.maybe(self.client.get_secret, name=self.names.secret(name), **ONCE)

    def _newest(self, name: str) -> str | None:
        return next(iter(self._enabled(name)), None)

    def _enabled(self, name: str) -> list[str]:
        """Return the numbers of the versions that can be read, the newest first."""
        versions: list[SecretVersion] = []
        token = ""
        while True:
            request = ListSecretVersionsRequest(
                parent=self.names.secret(name), filter=_ENABLED, page_size=_PAGE, page_token=token
            )
            page = self.calls.maybe(self.client.list_secret_versions, request, **ONCE)
            if page is None:
                return []
            versions += page.versions
            token = page.next_page_token
            if not token:
                return sorted((_number(each) for each in versions), key=int, reverse=True)


def _number(version: SecretVersion) -> str:
    return version.name.rpartition("/")[2]
