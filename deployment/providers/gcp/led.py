"""Where a service's addresses lead: its own by weights, and its tags'; ours is the candidate's. Pure.

Every revision is named: traffic that leads to "the latest" would let a new one in before it was probed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from google.cloud.run_v2.types import Service, TrafficTarget, TrafficTargetAllocationType

from deployment.providers.gcp.names import is_candidate_tag
from deployment.providers.gcp.services import short

_BY_REVISION = TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION


@dataclass(frozen=True, slots=True)
class Led:
    """Where addresses lead, by the revisions' own names."""

    weights: Mapping[str, int]
    """Per cent of the calls to the service's own address."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """By tag, the revision that its address leads to."""

    def targets(self) -> list[TrafficTarget]:
        """Return it as Cloud Run takes it: one entry a revision, and one more for each further tag of it."""
        tags = dict(self.tags)
        first = {revision: tag for tag, revision in sorted(tags.items(), reverse=True)}
        weighted = [_target(each, percent, first.get(each, "")) for each, percent in self.weights.items()]
        told = {each.tag for each in weighted}
        return weighted + [_target(each, 0, tag) for tag, each in tags.items() if tag not in told]

    def without_tag_of(self, revision: str) -> Led:
        return replace(self, tags={tag: each for tag, each in self.tags.items() if each != revision})

    def without_foreign_tags(self) -> Led:
        return replace(self, tags={tag: each for tag, each in self.tags.items() if is_candidate_tag(tag)})


def led_by(service: Service) -> Led:
    """Return where a settled service's addresses lead now."""
    weights: dict[str, int] = {}
    tags: dict[str, str] = {}
    for each in service.traffic_statuses:
        revision = each.revision or short(service.latest_ready_revision)
        if each.percent:
            weights[revision] = weights.get(revision, 0) + each.percent
        if each.tag:
            tags[each.tag] = revision
    return Led(weights, tags)


def _target(revision: str, percent: int, tag: str) -> TrafficTarget:
    return TrafficTarget(type_=_BY_REVISION, revision=revision, percent=percent, tag=tag)
