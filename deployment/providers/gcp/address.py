"""A function's address: the service itself, and that anybody may call it.

    ingress        from where calls may come: from everywhere, QStash and browsers included
    invoker        whether callers need an identity of Google's: none, functions check signatures
    default_url    whether the service answers at its own address, which is known before there is a service
    foreign_tags   tags that are not the candidate's; each is a further address, and there are to be none

The service is made first, with a placeholder behind it, because the functions hold each other's addresses. It
is never removed but with its function.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.cloud.run_v2.types import IngressTraffic, RevisionTemplate, Service

from deployment.providers.gcp.led import led_by
from deployment.providers.gcp.names import is_candidate_tag
from deployment.providers.gcp.services import Services
from deployment.resources import ObservedResource, Properties

_INGRESS = {
    IngressTraffic.INGRESS_TRAFFIC_ALL: "all",
    IngressTraffic.INGRESS_TRAFFIC_INTERNAL_ONLY: "internal",
    IngressTraffic.INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER: "internal and load balancing",
    IngressTraffic.INGRESS_TRAFFIC_NONE: "none",
}
_FIELDS = ("ingress", "invoker_iam_disabled", "default_uri_disabled")


def wanted() -> Properties:
    """Return what a function's address should be."""
    return {"ingress": "all", "invoker": "anybody", "default_url": "on", "foreign_tags": []}


def observed(service: Service) -> ObservedResource:
    """Return a service's address as it is."""
    foreign = sorted(tag for tag in led_by(service).tags if not is_candidate_tag(tag))
    properties = {
        "ingress": _INGRESS.get(service.ingress, "unknown"),
        "invoker": "anybody" if service.invoker_iam_disabled else "by IAM",
        "default_url": "off" if service.default_uri_disabled else "on",
        "foreign_tags": foreign,
    }
    return ObservedResource(properties, token=service.etag)


@dataclass(frozen=True, slots=True)
class Addresses:
    """The services of an environment, as doors."""

    services: Services

    def ensure(self, name: str, properties: Properties, placeholder: RevisionTemplate) -> None:
        """Make a service, and open its door.

        Args:
            name: the function's.
            properties: what `wanted` says.
            placeholder: what it leads to before the first release.
        """
        found = self.services.find(name)
        if found is None:
            self.services.create(name, self._new(name, placeholder))
            found = self.services.require(name)
        self.services.refuse_foreign(name, found)
        if observed(found).properties == properties:
            return
        change, fields = _opened(Service(etag=found.etag)), list(_FIELDS)
        now = led_by(found)
        if now.without_foreign_tags() != now:
            change.traffic = now.without_foreign_tags().targets()
            fields.append("traffic")
        self.services.update(name, change, fields, lambda each: observed(each).properties == properties)

    def _new(self, name: str, placeholder: RevisionTemplate) -> Service:
        return _opened(Service(labels=self.services.names.labels(name), template=placeholder))


def _opened(service: Service) -> Service:
    service.ingress = IngressTraffic(IngressTraffic.INGRESS_TRAFFIC_ALL)
    service.invoker_iam_disabled = True
    service.default_uri_disabled = False
    return service
