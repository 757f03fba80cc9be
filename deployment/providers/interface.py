"""What the planner's steps ask of a provider. Each write is idempotent: done twice, it is done once.

A provider only ever touches what carries its environment's tags (`sluice:environment`, `sluice:function`).
What it finds under one of its names without them it reports as not `ours`, and refuses to write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import httpx

from deployment.catalogue import FunctionSpec
from deployment.objects import ObjectStore
from deployment.resources import Kind, Observed, Properties
from deployment.secret_store import SecretStore
from deployment.states import FunctionState


class Provider(Protocol):
    """One environment on one provider."""

    @property
    def objects(self) -> ObjectStore:
        """Return the store of packages, releases and the lock."""

    @property
    def secrets(self) -> SecretStore:
        """Return the environment's secrets."""

    def check(self) -> None:
        """Return when the credentials lead to the declared account or project; reads only.

        Raises:
            Refused: they lead elsewhere.
            ProviderError: they lead nowhere.
        """

    def log_of(self, function: str) -> str:
        """Return where a function's log is to be read, in words for people; calls nothing."""

    def variables(self) -> Mapping[str, str]:
        """Return the variables that only the provider knows: the addresses of services it runs itself."""

    def resources(self, spec: FunctionSpec, *, stopped: bool) -> Mapping[Kind, Properties]:
        """Return what `spec` should be here, apart from its revisions. Pure: calls nothing.

        Args:
            spec: the function, with the environment's overrides.
            stopped: whether somebody has stopped it: its capacity is then none.
        """

    def observe(self, names: Sequence[str]) -> Observed:
        """Return the environment as it is; reads only. The sweep's schedule is somebody else's.

        A function whose address leads only to the provider's placeholder, because nothing was ever released
        to it, has no `live`; the placeholder is no revision.
        """

    def ensure(self, function: str, kind: Kind, properties: Properties) -> None:
        """Make a resource, or make it as it should be.

        Raises:
            ForeignResource: there is one of that name that is not ours.
            WorldMoved: somebody changed it between looking and writing.
        """

    def upload(self, code: str, package: Path) -> None:
        """Put a package into the store under its content digest; one that is there is left alone."""

    def publish(self, state: FunctionState) -> None:
        """Make the revision of a state without a reference; one that is there is left alone.

        It takes no calls yet. The package is in the store. Returns when the revision can be called.
        """

    def candidate(self, function: str, fingerprint: str) -> str:
        """Let the function's second, private address lead to a revision, and return that address.

        Only probes know it. On a provider that has none, the revision's own address.
        """

    def shift(self, function: str, weights: Mapping[str, int]) -> None:
        """Let the function's address lead to revisions, in per cent that add up to 100.

        Args:
            function: whose address.
            weights: by fingerprint, or by `id:<id>` for a revision that is not ours; two at most.

        Raises:
            WorldMoved: a revision is gone, or somebody else shifted at the same time.
        """

    def prune(self, function: str, revision_id: str) -> None:
        """Remove a revision; one that is gone is no error.

        Raises:
            Refused: calls are led to it.
        """

    def forget_artefact(self, code: str) -> None:
        """Remove a package from the store; one that is gone is no error."""

    def remove(self, function: str) -> None:
        """Remove the function with all its revisions and resources; what is gone is no error."""

    def client(self) -> httpx.Client:
        """Return a client that reaches the functions' addresses; the caller closes it."""

    def close(self) -> None:
        """Let go of connections."""
