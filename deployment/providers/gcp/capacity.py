"""How much of a function may run at once: instances, each of which serves `concurrency` requests.

While it is stopped it is scaled by hand, to none: Cloud Run then answers 503 to every call of its address. A
tag's address would still start one instance, so a service that is stopped has no tags.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.cloud.run_v2.types import Service, ServiceScaling

from deployment.providers.gcp.led import Led, led_by
from deployment.providers.gcp.services import Services
from deployment.resources import ObservedResource, Properties

_MANUAL = ServiceScaling.ScalingMode.MANUAL
_AUTOMATIC = ServiceScaling.ScalingMode.AUTOMATIC


def wanted(least: int, most: int, *, stopped: bool) -> Properties:
    """Return what a function's capacity should be."""
    if stopped:
        return _by_hand(0, tagged=False)
    return {"scaling": "automatic", "min_instances": least, "max_instances": most}


def observed(service: Service) -> ObservedResource:
    """Return a service's capacity as it is."""
    scaling = service.scaling
    if scaling.scaling_mode == _MANUAL:
        count = scaling.manual_instance_count
        return ObservedResource(_by_hand(count, tagged=not count and bool(led_by(service).tags)))
    properties = wanted(scaling.min_instance_count, scaling.max_instance_count, stopped=False)
    return ObservedResource(properties)


@dataclass(frozen=True, slots=True)
class Capacities:
    """The scaling of an environment's services."""

    services: Services

    def ensure(self, name: str, properties: Properties) -> None:
        """Give a service the instances that it should have."""
        service = self.services.require(name)
        if observed(service).properties == properties:
            return
        change, fields = Service(etag=service.etag, scaling=_scaling(properties)), ["scaling"]
        if properties["scaling"] == "manual":
            change.traffic = Led(led_by(service).weights).targets()
            fields.append("traffic")
        self.services.update(name, change, fields, lambda found: observed(found).properties == properties)


def _by_hand(count: int, *, tagged: bool) -> Properties:
    return {"scaling": "manual", "instances": count} | ({"tagged": True} if tagged else {})


def _scaling(properties: Properties) -> ServiceScaling:
    if properties["scaling"] == "manual":
        return ServiceScaling(scaling_mode=_MANUAL, manual_instance_count=properties["instances"])
    return ServiceScaling(
        scaling_mode=_AUTOMATIC,
        min_instance_count=properties["min_instances"],
        max_instance_count=properties["max_instances"],
    )
