"""A function's address: the function itself, and for each of its two aliases a URL and who may call it.

    live.url, candidate.url            how the URL answers (buffered or as a stream), that it asks for no AWS
                                       signature, and that it adds no CORS headers (the functions do)
    live.callers.…, candidate.callers.…, function.callers.…     who may call, statement by statement

Addresses are made first, with a placeholder behind them, because the functions hold each other's. A URL is
never removed but with its function: another one would not be the one that QStash signs for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployment.providers.aws.calls import AwsError, pages
from deployment.providers.aws.configuration import Blueprint
from deployment.providers.aws.functions import Functions
from deployment.providers.aws.permissions import PUBLIC, Permissions
from deployment.providers.aws.placeholder import PLACEHOLDER
from deployment.providers.aws.traffic import ALIASES, LIVE, Alias, Traffic
from deployment.resources import ObservedResource, Properties

_MARKER = ("NextMarker", "Marker")
_FUNCTION: Final = "function"
"""Stands for the policy that holds for the function whatever the version; it is to be empty."""


def wanted(*, streams: bool) -> Properties:
    """Return what a function's address should be."""
    mode = "RESPONSE_STREAM" if streams else "BUFFERED"
    urls: dict[str, Any] = {alias: _url("NONE", mode, {}) for alias in ALIASES}
    return _flat(urls, dict.fromkeys(urls, PUBLIC))


@dataclass(frozen=True, slots=True)
class Addresses:
    """The functions of an environment and their URLs."""

    functions: Functions
    traffic: Traffic
    permissions: Permissions

    def observe(self, name: str, aliases: Mapping[str, Alias]) -> tuple[ObservedResource, str | None]:
        """Return a function's address as it is, and the URL; the function is there and ours."""
        urls = self._urls(name)
        found: dict[str, Any] = {alias: _observed_url(urls[alias]) for alias in ALIASES if alias in urls}
        callers: dict[str, Any] = {
            alias: self.permissions.observe(name, alias) for alias in ALIASES if alias in aliases
        }
        callers[_FUNCTION] = self.permissions.observe(name, None)
        token = aliases[LIVE].revision if LIVE in aliases else ""
        url = plain(urls[LIVE]["FunctionUrl"]) if LIVE in urls else None
        return ObservedResource(_flat(found, callers), token=token), url

    def ensure(self, name: str, properties: Properties, shell: Blueprint) -> None:
        """Make a function, its aliases and their URLs as they should be.

        Args:
            name: the function's.
            properties: what `wanted` says.
            shell: what its aliases lead to before the first release.
        """
        self._ensure_function(name, shell)
        if missing := [alias for alias in ALIASES if alias not in self.traffic.observe(name)]:
            version = self._placeholder(name, shell)
            for alias in missing:
                self.traffic.create(name, alias, version)
        urls = self._urls(name)
        for alias in ALIASES:
            self._ensure_url(name, alias, properties[f"{alias}.url"], urls.get(alias))
            self.permissions.ensure(name, alias, _callers(properties, alias))
        self.permissions.ensure(name, None, _callers(properties, _FUNCTION))

    def candidate_url(self, name: str) -> str | None:
        """Return the address that only probes know."""
        found = self._urls(name).get("candidate")
        return plain(found["FunctionUrl"]) if found else None

    def remove(self, name: str) -> None:
        """Remove a function that is ours, with its URLs, aliases and versions."""
        found = self.functions.find(name)
        if found is None or not self.functions.is_ours(name, found):
            return
        client, calls = self.functions.client, self.functions.calls
        function_name = self.functions.names.function(name)
        for alias in self._urls(name):
            calls.maybe(client.delete_function_url_config, FunctionName=function_name, Qualifier=alias)
        calls.maybe(client.delete_function, FunctionName=function_name)

    def _ensure_function(self, name: str, shell: Blueprint) -> None:
        if (found := self.functions.find(name)) is not None:
            self.functions.refuse_foreign(name, found)
            return
        names = self.functions.names
        settings: dict[str, Any] = {
            **shell.settings,
            "FunctionName": names.function(name),
            "PackageType": "Zip",
            "Code": shell.code,
            "Architectures": [shell.architecture],
            "Tags": names.tags(name),
        }
        try:
            self.functions.calls(self.functions.client.create_function, **settings)
        except AwsError as error:
            if error.code != "ResourceConflictException":
                raise
            self.functions.require(name)  # our own first attempt, or somebody's who was quicker
        self.functions.settled(name)

    def _placeholder(self, name: str, shell: Blueprint) -> str:
        """Return the version that answers before the first release; one is published if there is none."""
        for version in self.traffic.versions.all_of(name):
            if version.get("Description") == PLACEHOLDER:
                return str(version["Version"])
        return self.traffic.versions.publish(name, shell)

    def _urls(self, name: str) -> dict[str, Mapping[str, Any]]:
        """Return the URLs of the function's aliases, by alias."""
        found = pages(
            self.functions.calls,
            self.functions.client.list_function_url_configs,
            "FunctionUrlConfigs",
            _MARKER,
            FunctionName=self.functions.names.function(name),
        )
        by_alias = {each["FunctionArn"].rpartition(":")[2]: each for each in found}
        return {alias: each for alias, each in by_alias.items() if alias in ALIASES}

    def _ensure_url(
        self, name: str, alias: str, wanted_url: Mapping[str, Any], there: Mapping[str, Any] | None
    ) -> None:
        client, calls = self.functions.client, self.functions.calls
        settings: dict[str, Any] = {
            "FunctionName": self.functions.names.function(name),
            "Qualifier": alias,
            "AuthType": wanted_url["auth"],
            "InvokeMode": wanted_url["mode"],
        }
        if there is None:
            try:
                calls(client.create_function_url_config, **settings)
            except AwsError as error:
                if error.code != "ResourceConflictException" or error.attempts == 1:
                    raise
        elif _observed_url(there) != dict(wanted_url):
            calls(client.update_function_url_config, **settings, Cors=wanted_url["cors"])


def plain(url: str) -> str:
    """Return a URL as everybody else writes it: without the slash that Lambda puts at its end."""
    return url.rstrip("/")


def _url(auth: str, mode: str, cors: Mapping[str, Any]) -> dict[str, Any]:
    return {"auth": auth, "mode": mode, "cors": dict(cors)}


def _observed_url(found: Mapping[str, Any]) -> dict[str, Any]:
    return _url(found["AuthType"], found.get("InvokeMode", "BUFFERED"), found.get("Cors") or {})


def _flat(urls: Mapping[str, Any], callers: Mapping[str, Mapping[str, Any]]) -> Properties:
    return {f"{alias}.url": url for alias, url in urls.items()} | {
        f"{alias}.callers.{sid}": statement
        for alias, statements in callers.items()
        for sid, statement in statements.items()
    }


def _callers(properties: Properties, alias: str) -> dict[str, Any]:
    prefix = f"{alias}.callers."
    return {key.removeprefix(prefix): each for key, each in properties.items() if key.startswith(prefix)}
