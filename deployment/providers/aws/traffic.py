"""Where a function's two aliases lead: `live`, which everybody calls, and `candidate`, which probes know.

An alias leads to one version, or to two with weights. Each write names the alias's revision that was looked
at: if somebody else moved it meanwhile, Lambda refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployment.errors import WorldMoved
from deployment.providers.aws.calls import AwsError, pages
from deployment.providers.aws.configuration import fingerprint_of
from deployment.providers.aws.functions import Functions
from deployment.providers.aws.placeholder import PLACEHOLDER
from deployment.providers.aws.revisions import Versions

LIVE: Final = "live"
CANDIDATE: Final = "candidate"
ALIASES: Final = (LIVE, CANDIDATE)
_MARKER = ("NextMarker", "Marker")
_WHOLE = 100
_BY_ID = "id:"


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias as it is."""

    version: str
    others: Mapping[str, float]
    """The weight (of 1) of each version beside the first."""
    revision: str

    @property
    def percents(self) -> dict[str, int]:
        """Return the per cent of the calls that each version gets."""
        others = {version: round(weight * _WHOLE) for version, weight in self.others.items() if weight}
        return {self.version: _WHOLE - sum(others.values()), **others}


@dataclass(frozen=True, slots=True)
class Traffic:
    """The aliases of an environment's functions."""

    functions: Functions
    versions: Versions

    def observe(self, name: str) -> dict[str, Alias]:
        """Return the function's aliases that are ours, by name."""
        found = pages(
            self.functions.calls,
            self.functions.client.list_aliases,
            "Aliases",
            _MARKER,
            FunctionName=self.functions.names.function(name),
        )
        return {each["Name"]: _alias(each) for each in found if each["Name"] in ALIASES}

    def create(self, name: str, alias: str, version: str) -> None:
        """Make an alias that is not there; one that has come into being meanwhile is left as it is."""
        try:
            self.functions.calls(
                self.functions.client.create_alias,
                FunctionName=self.functions.names.function(name),
                Name=alias,
                FunctionVersion=version,
            )
        except AwsError as error:
            if error.code != "ResourceConflictException" or error.attempts == 1:
                raise

    def shift(self, name: str, weights: Mapping[str, int]) -> None:
        """Lead `live` to revisions, by fingerprint or `id:<version>`, in per cent."""
        self.functions.require(name)
        versions = self.versions.all_of(name)
        self._move(name, LIVE, {_version(name, key, versions): percent for key, percent in weights.items()})

    def nominate(self, name: str, fingerprint: str) -> None:
        """Lead `candidate` to a revision."""
        self.functions.require(name)
        self._move(name, CANDIDATE, {_version(name, fingerprint, self.versions.all_of(name)): _WHOLE})

    def retreat(self, name: str, version: str) -> None:
        """Lead `candidate` to where `live` leads, if it leads to a version that is to go."""
        aliases = self.observe(name)
        candidate, live = aliases.get(CANDIDATE), aliases.get(LIVE)
        if candidate and live and version in candidate.percents:
            self._move(name, CANDIDATE, {live.version: _WHOLE})

    def _move(self, name: str, alias: str, percents: Mapping[str, int]) -> None:
        function_name = self.functions.names.function(name)
        there = self.observe(name).get(alias)
        if there is None:
            raise WorldMoved(f"The alias {alias} of {function_name} is gone: plan again.")
        if there.percents == dict(percents):
            return
        first, *rest = sorted(percents, key=lambda version: -percents[version])
        try:
            self.functions.calls(
                self.functions.client.update_alias,
                FunctionName=function_name,
                Name=alias,
                FunctionVersion=first,
                RoutingConfig={"AdditionalVersionWeights": {each: percents[each] / _WHOLE for each in rest}},
                RevisionId=there.revision,
            )
        except AwsError as error:
            now = self.observe(name).get(alias)
            if error.attempts > 1 and now is not None and now.percents == dict(percents):
                return  # our own first attempt, whose answer was lost
            if error.code == "PreconditionFailedException" or error.missing:
                raise WorldMoved(
                    f"The alias {alias} of {function_name} was moved by somebody else meanwhile: plan again."
                ) from error
            raise


def live_of(alias: Alias | None, versions: list[Mapping[str, Any]]) -> dict[str, int]:
    """Return where an alias leads, by fingerprint; nowhere while it leads to the placeholder alone."""
    if alias is None:
        return {}
    descriptions = {each["Version"]: each.get("Description", "") for each in versions}
    if set(alias.percents) == {alias.version} and descriptions.get(alias.version) == PLACEHOLDER:
        return {}
    live: dict[str, int] = {}
    for version, percent in alias.percents.items():
        key = fingerprint_of(descriptions.get(version, "")) or f"{_BY_ID}{version}"
        live[key] = live.get(key, 0) + percent
    return live


def _version(name: str, key: str, versions: list[Mapping[str, Any]]) -> str:
    """Return the version that a fingerprint or an id stands for: the newest, if there are several."""
    for each in reversed(versions):
        if f"{_BY_ID}{each['Version']}" == key or fingerprint_of(each.get("Description", "")) == key:
            return str(each["Version"])
    raise WorldMoved(f"{name}: the revision {key} is gone: plan again.")


def _alias(found: Mapping[str, Any]) -> Alias:
    others = (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return Alias(found["FunctionVersion"], dict(others), found.get("RevisionId", ""))
