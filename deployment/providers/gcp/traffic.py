"""Leading a service's addresses: its own, which everybody calls, and the candidate's, which probes know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.cloud.run_v2.types import Service

from deployment.errors import WorldMoved
from deployment.providers.gcp.led import Led, led_by
from deployment.providers.gcp.names import candidate_tag
from deployment.providers.gcp.revisions import Revisions
from deployment.providers.gcp.services import Services

_BY_ID = "id:"


@dataclass(frozen=True, slots=True)
class Traffic:
    """The addresses of an environment's services."""

    services: Services
    revisions: Revisions

    def live(self, name: str, service: Service) -> dict[str, int]:
        """Return where the service's own address leads, by fingerprint; the placeholder alone is nowhere."""
        live: dict[str, int] = {}
        weights = led_by(service).weights
        if all(self.revisions.is_placeholder(name, revision) for revision in weights):
            return {}
        for revision, percent in weights.items():
            key = self.services.names.fingerprint_in(name, revision) or f"{_BY_ID}{revision}"
            live[key] = live.get(key, 0) + percent
        return live

    def shift(self, name: str, weights: Mapping[str, int]) -> None:
        """Lead a service's own address to revisions, by fingerprint or `id:<name>`, in per cent."""
        service = self.services.require(name)
        named = {self._revision(name, key): percent for key, percent in weights.items() if percent}
        now = led_by(service)
        if dict(now.weights) != named:
            self.lead(name, service, Led(named, now.tags))

    def nominate(self, name: str, fingerprint: str) -> str:
        """Let the candidate's address lead to a revision, and return its tag; the last candidate's goes."""
        service = self.services.require(name)
        tag, now = candidate_tag(fingerprint), led_by(service)
        wanted = {tag: self._revision(name, fingerprint)}
        if dict(now.tags) != wanted:
            self.lead(name, service, Led(now.weights, wanted))
        return tag

    def retreat(self, name: str, service: Service, revision: str) -> None:
        """Take its tags off a revision that is to go."""
        now = led_by(service)
        if revision in now.tags.values():
            self.lead(name, service, now.without_tag_of(revision))

    def lead(self, name: str, service: Service, wanted: Led) -> None:
        """Write where the addresses lead.

        Raises:
            WorldMoved: somebody else changed the service after `service` was looked at.
        """
        change = Service(etag=service.etag, traffic=wanted.targets())
        self.services.update(name, change, ["traffic"], lambda found: led_by(found) == wanted)

    def _revision(self, name: str, key: str) -> str:
        """Return the revision that a fingerprint or an id stands for: the newest, if there are several."""
        for each in reversed(self.revisions.all_of(name)):
            if key in {f"{_BY_ID}{each.id}", each.fingerprint}:
                return each.id
        raise WorldMoved(f"{name}: the revision {key} is gone: plan again.")
