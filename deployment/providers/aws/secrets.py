"""Secrets and their versions, in Secrets Manager.

Secrets Manager lets go of versions that have no staging label. Revisions pin versions, so each gets one of
its own, `sluice-…`, until nothing pins it any more; a secret has room for twenty. What is read is always
asked for by its version or label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from deployment.errors import ForeignResource, MissingSecret
from deployment.providers.aws.calls import AwsError, Calls, pages
from deployment.providers.aws.names import Names, from_tag_list
from deployment.secret_store import SecretState
from deployment.states import SecretPin

if TYPE_CHECKING:  # they come with the development tools
    from mypy_boto3_secretsmanager import SecretsManagerClient

CURRENT: Final = "AWSCURRENT"
_LABEL = "sluice-"
_NEXT_PAGE = ("NextToken", "NextToken")
_GONE = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
"""What reading a version says when there is none, or when the secret has been marked for removal."""
RECOVERY_DAYS = 30


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one environment (`deployment.secret_store.SecretStore`)."""

    client: SecretsManagerClient
    calls: Calls
    names: Names

    def describe(self, names: Iterable[str]) -> Mapping[str, SecretState]:
        found = {name: self._state(name) for name in names}
        return {name: state for name, state in found.items() if state is not None}

    def read(self, pin: SecretPin) -> str:
        try:
            answer = self.calls(self.client.get_secret_value, SecretId=pin.name, VersionId=pin.version)
        except AwsError as error:
            if error.code in _GONE:
                raise MissingSecret(f"The secret {pin.name} has no version {pin.version}.") from error
            raise
        if "SecretString" not in answer:
            raise MissingSecret(f"The version {pin.version} of the secret {pin.name} holds no text.")
        return answer["SecretString"]

    def put(self, name: str, value: str, *, request_id: str) -> str:
        token = _token(name, request_id)
        self._ensure(name)
        # Its own label first, so that it is kept whatever comes next; then it is the current one.
        self.calls.hiding(
            value,
            self.client.put_secret_value,
            SecretId=name,
            ClientRequestToken=token,
            SecretString=value,
            VersionStages=[_label(token)],
        )
        self._make_current(name, token)
        return token

    def keep_only(self, pins: Iterable[SecretPin]) -> None:
        pinned: dict[str, set[str]] = {}
        for pin in pins:
            pinned.setdefault(pin.name, set()).add(pin.version)
        for name, kept in pinned.items():
            told = self._described(name)
            if told is None or not self._is_ours(told):
                continue
            for version, labels in told.get("VersionIdsToStages", {}).items():
                if version not in kept and CURRENT not in labels:
                    self._unlabel(name, version, labels)

    def remove(self, name: str) -> None:
        told = self._described(name)
        if told is None or not self._is_ours(told) or "DeletedDate" in told:
            return
        how: Any = {"ForceDeleteWithoutRecovery": True}
        if self.names.environment.protected:
            how = {"RecoveryWindowInDays": RECOVERY_DAYS}
        self.calls.maybe(self.client.delete_secret, SecretId=name, **how)

    def _state(self, name: str) -> SecretState | None:
        told = self._described(name)
        if told is None or "DeletedDate" in told:
            return None
        versions = pages(
            self.calls, self.client.list_secret_version_ids, "Versions", _NEXT_PAGE, SecretId=name
        )
        labelled = [each for each in reversed(versions) if each.get("VersionStages")]
        newest_first = sorted(labelled, key=lambda each: each["CreatedDate"], reverse=True)
        current = next((each["VersionId"] for each in labelled if CURRENT in each["VersionStages"]), None)
        if current is None:
            return None
        ids = tuple(each["VersionId"] for each in newest_first)
        return SecretState(name, current, ids, ours=self._is_ours(told))

    def _ensure(self, name: str) -> None:
        """Make a secret without a value, or take back one that was marked for removal."""
        told = self._described(name) or self._created(name)
        if not self._is_ours(told):
            raise ForeignResource(
                f"The secret {name} exists without this environment's tags: it is left alone."
            )
        if "DeletedDate" in told:
            self.calls(self.client.restore_secret, SecretId=name)

    def _created(self, name: str) -> Mapping[str, Any]:
        tags = self.names.tag_list()
        try:
            self.calls(self.client.create_secret, Name=name, Tags=tags)
        except AwsError as error:
            if error.code != "ResourceExistsException":
                raise
            if (told := self._described(name)) is not None:
                return told
            raise
        return {"Tags": tags}

    def _described(self, name: str) -> Mapping[str, Any] | None:
        return self.calls.maybe(self.client.describe_secret, SecretId=name)

    def _is_ours(self, told: Mapping[str, Any]) -> bool:
        return self.names.owns(from_tag_list(told.get("Tags", [])))

    def _make_current(self, name: str, version: str) -> None:
        """Move AWSCURRENT; the first version of all has it by itself."""
        before = self._current(name)
        if before == version:
            return
        try:
            self.calls(
                self.client.update_secret_version_stage,
                SecretId=name,
                VersionStage=CURRENT,
                MoveToVersionId=version,
                **({"RemoveFromVersionId": before} if before else {}),
            )
        except AwsError as error:
            if error.attempts == 1 or self._current(name) != version:
                raise

    def _current(self, name: str) -> str | None:
        told = self._described(name) or {}
        stages = told.get("VersionIdsToStages", {})
        return next((version for version, labels in stages.items() if CURRENT in labels), None)

    def _unlabel(self, name: str, version: str, labels: Iterable[str]) -> None:
        for label in labels:
            if label.startswith(_LABEL):
                self.calls.maybe(
                    self.client.update_secret_version_stage,
                    SecretId=name,
                    VersionStage=label,
                    RemoveFromVersionId=version,
                )


def _token(name: str, request_id: str) -> str:
    """Return the id of the version that a request makes: the same for the same request."""
    return hashlib.sha256(f"{name}\n{request_id}".encode()).hexdigest()[:32]


def _label(version: str) -> str:
    return f"{_LABEL}{version[:12]}"
