"""A function's versions: found, published, removed.

`$LATEST` is where a version is put together, in two writes that Lambda takes in one after the other. Whoever
is killed between them leaves a mixture there, and so nothing is published unless the whole of `$LATEST` has
been compared with what is wanted, and Lambda is told which revision of it that was. What is published is
compared once more, before anybody is told of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployment.errors import Refused, WorldMoved
from deployment.providers.aws.calls import AwsError, pages
from deployment.providers.aws.configuration import Blueprint, differing, fingerprint_of, is_code_of
from deployment.providers.aws.functions import Functions
from deployment.providers.aws.placeholder import PLACEHOLDER
from deployment.resources import Revision

ROUNDS = 12
"""Steps until a version is published: three, and one more for each answer that is lost."""
_MARKER = ("NextMarker", "Marker")
_STALE = "PreconditionFailedException"


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of an environment's functions."""

    functions: Functions

    def all_of(self, name: str) -> list[Mapping[str, Any]]:
        """Return every published version, the oldest first."""
        found = pages(
            self.functions.calls,
            self.functions.client.list_versions_by_function,
            "Versions",
            _MARKER,
            FunctionName=self.functions.names.function(name),
        )
        published = [each for each in found if each["Version"] != "$LATEST"]
        return sorted(published, key=lambda each: int(each["Version"]))

    def publish(self, name: str, blueprint: Blueprint) -> str:
        """Return the version of a blueprint, made if there is none.

        Raises:
            WorldMoved: somebody else changes the function at the same time.
        """
        self.functions.require(name)
        for there in reversed(self.all_of(name)):
            if there.get("Description") == blueprint.description and _is(there, blueprint):
                return self._ready(name, there["Version"])
        for _ in range(ROUNDS):
            latest = self.functions.settled(name)
            try:
                if version := self._step(name, blueprint, latest):
                    return self._checked(name, blueprint, version)
            except AwsError as error:
                if error.code != _STALE:
                    raise
        function_name = self.functions.names.function(name)
        raise WorldMoved(
            f"{function_name} does not stay as it was written: somebody else changes it. Try again."
        )

    def prune(self, name: str, version: str) -> None:
        """Remove a version; one that is gone is no error.

        Raises:
            Refused: an alias leads to it, or it is no version of ours to remove.
        """
        if not version.isdigit():  # without a version's number Lambda would remove the function
            raise Refused(f"{name}: {version!r} is no version.")
        try:
            self.functions.calls.maybe(
                self.functions.client.delete_function,
                FunctionName=self.functions.names.function(name),
                Qualifier=version,
            )
        except AwsError as error:
            if error.code == "ResourceConflictException":
                raise Refused(f"{name}: version {version} takes calls and cannot be removed.") from error
            raise

    def _step(self, name: str, blueprint: Blueprint, latest: Mapping[str, Any]) -> str | None:
        """Do the next thing that is to be done; return the version when it was published."""
        client, calls = self.functions.client, self.functions.calls
        guard: Any = {"FunctionName": self.functions.names.function(name), "RevisionId": latest["RevisionId"]}
        if not is_code_of(latest, blueprint):
            architectures: Any = [blueprint.architecture]
            calls(client.update_function_code, **guard, **blueprint.code, Architectures=architectures)
            return None
        if changes := differing(latest, blueprint):
            calls(client.update_function_configuration, **guard, **changes)
            return None
        published = calls(client.publish_version, **guard, CodeSha256=blueprint.sha256)
        return published["Version"]

    def _checked(self, name: str, blueprint: Blueprint, version: str) -> str:
        self._ready(name, version)
        found = next((each for each in self.all_of(name) if each["Version"] == version), {})
        if _is(found, blueprint):
            return version
        self.prune(name, version)
        raise WorldMoved(f"{name}: version {version} is not what was to be published. Try again.")

    def _ready(self, name: str, version: str) -> str:
        self.functions.settled(name, version)
        return version


def revision_of(version: Mapping[str, Any]) -> Revision | None:
    """Return a version as a revision; None for the placeholder."""
    description = version.get("Description", "")
    if description == PLACEHOLDER:
        return None
    number = str(version["Version"])
    return Revision(fingerprint_of(description), number, int(number))


def _is(found: Mapping[str, Any], blueprint: Blueprint) -> bool:
    return bool(found) and is_code_of(found, blueprint) and not differing(found, blueprint)
