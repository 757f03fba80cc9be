"""Who answers at a function URL: read from moto and from what the rules remember, at every request."""

from __future__ import annotations

import base64
import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deployment.policy_evaluation import simulate
from devstack.clouds.aws.sessions import server_session
from devstack.clouds.aws.strict.books import FileState, FunctionBook
from devstack.clouds.aws.strict.calls import LATEST
from devstack.clouds.aws.strict.rules.configurations import config_digest

_AS_PUBLIC = {"lambda:FunctionUrlAuthType": "NONE", "lambda:InvokedViaFunctionUrl": "true"}
_NEEDED = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it was published."""

    arn: str
    """Of the function, without a qualifier."""
    number: str
    package: str
    """The package's SHA-256, hexadecimal."""
    config: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what tells it from every other, also from one of its number in an earlier function."""
        return self.arn, self.number, f"{self.package} {config_digest(dict(self.config))}"

    @property
    def variables(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.config.get("Environment", {}).get("Variables", {})
        return found

    @property
    def timeout_seconds(self) -> float:
        return float(self.config["Timeout"])


@dataclass(frozen=True, slots=True)
class Address:
    """A function URL and what it leads to now."""

    function_arn: str
    invoked_arn: str
    """With the alias."""
    streams: bool
    public: bool
    """Whether anybody may call: no authentication, and both statements, as AWS asks since October 2025."""
    reserved: int | None
    versions: tuple[tuple[Version, float], ...]
    """With the share of requests that each takes; they add up to 1."""

    def choose(self) -> Version:
        """Return the version for one request, by weight."""
        versions = [version for version, _ in self.versions]
        return random.choices(versions, [share for _, share in self.versions])[0]


class Directory:
    """Finds addresses by their host name."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._state = FileState(folder)
        self._endpoint = endpoint
        self._versions: dict[tuple[str, str, str], Version] = {}

    def find(self, host: str) -> Address | None:
        """Return what answers at a host name, None when nothing does."""
        for arn, function in self._state.read().functions.items():
            for qualifier, config in function["urls"].items():
                if urlsplit(config["FunctionUrl"]).hostname == host:
                    return self._address(arn, function, qualifier, config)
        return None

    def _address(
        self, arn: str, function: FunctionBook, qualifier: str, config: Mapping[str, Any]
    ) -> Address:
        invoked = arn if qualifier == LATEST else f"{arn}:{qualifier}"
        shares = self._shares(arn, qualifier)
        return Address(
            function_arn=arn,
            invoked_arn=invoked,
            streams=config["InvokeMode"] == "RESPONSE_STREAM",
            public=config["AuthType"] == "NONE" and _is_public(function, qualifier, invoked),
            reserved=function["reserved"],
            versions=tuple((self._version(arn, function, number), share) for number, share in shares.items()),
        )

    def _shares(self, arn: str, qualifier: str) -> dict[str, float]:
        if qualifier == LATEST:
            return {LATEST: 1.0}
        alias = self._client(arn).get_alias(FunctionName=arn, Name=qualifier)
        extra = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        return {alias["FunctionVersion"]: 1.0 - sum(extra.values()), **extra}

    def _version(self, arn: str, function: FunctionBook, number: str) -> Version:
        record = function["records"][number]
        key = (arn, number, record["revision"])
        if key not in self._versions:
            found = self._client(arn).get_function_configuration(FunctionName=arn, Qualifier=number)
            package = base64.b64decode(record["sha"]).hex()
            config = {**found, **record["settings"]}
            self._versions[key] = Version(arn, number, package, config)
        return self._versions[key]

    def _client(self, arn: str) -> Any:
        _, _, _, region, account, *_ = arn.split(":")
        return self._client_of(region, account)

    @functools.cache  # noqa: B019  # one directory lives as long as the process
    def _client_of(self, region: str, account: str) -> Any:
        session = server_session(self._endpoint, region, account)
        return session.client("lambda")


def _is_public(function: FunctionBook, qualifier: str, arn: str) -> bool:
    statements = [
        statement
        for statement in function["policies"].get(qualifier, [])
        if statement["Principal"] in ("*", {"AWS": "*"})
    ]
    document = {"Statement": statements}
    return all(simulate(document, action, arn, _AS_PUBLIC) for action in _NEEDED)
