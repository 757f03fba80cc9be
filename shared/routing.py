"""Lanes, tiers, models and the one routing table; pure data, read by producer and guard alike.

A lane is named the same everywhere: its folder, its function, its Redis key (`queue:paid_stream`), its URL's
variable (`PAID_STREAM_URL`). The producer alone looks routes up; a worker only compares (`serves`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Tier(StrEnum):
    PAID = "paid"
    FREE = "free"


class Kind(StrEnum):
    STREAM = "stream"
    BATCH = "batch"
    VISION = "vision"


class Lane(StrEnum):
    PAID_STREAM = "paid_stream"
    FREE_STREAM = "free_stream"
    PAID_BATCH = "paid_batch"
    FREE_BATCH = "free_batch"
    PAID_VISION = "paid_vision"

    @property
    def tier(self) -> Tier:
        return Tier(self.value.split("_")[0])

    @property
    def kind(self) -> Kind:
        return Kind(self.value.split("_")[1])

    @property
    def url_variable(self) -> str:
        return f"{self.value.upper()}_URL"

    def path(self, template_id: Template) -> str:
        """The one path at which this lane's function takes `template_id`; part of the signed `sub`."""
        return f"/{self.tier}/{self.kind}/{template_id}"


class Provider(StrEnum):
    DEEPSEEK = "deepseek"
    GLM = "glm"


class Model(StrEnum):
    DEEPSEEK_CHAT = "deepseek-chat"
    DEEPSEEK_REASONER = "deepseek-reasoner"
    GLM_FLASH = "glm-4.5-flash"
    GLM_VISION = "glm-4.1v-thinking-flash"

    @property
    def provider(self) -> Provider:
        return _PROVIDERS[self]


class Template(StrEnum):
    RESUME_SUMMARY = "resume_summary"
    DETAILED_RESUME_SUMMARY = "detailed_resume_summary"
    JOB_VISION_SUMMARY = "job_vision_summary"
    JOB_MATCH = "job_match"
    RESUME_CUSTOMIZE = "resume_customize"
    INTERVIEW_PREP = "interview_prep"

    @property
    def streams(self) -> bool:
        """True when the output is streamed Markdown, False when it is one structured object."""
        return self in _STREAMED


class Action(StrEnum):
    UPLOAD_RESUME = "upload-resume"
    UPLOAD_DETAILED_RESUME = "upload-detailed-resume"
    CREATE_SERVICE = "create-service"
    CUSTOMIZE_RESUME = "customize-resume"
    INTERVIEW_TIPS = "interview-tips"


@dataclass(frozen=True, slots=True)
class Route:
    """Where one step of a task runs: the lane that takes it and the model it calls."""

    lane: Lane
    model: Model


@dataclass(frozen=True, slots=True)
class Plan:
    """What an accepted action costs in coins (the free tier: 0) and its steps, in order."""

    action: Action
    cost: int
    steps: tuple[Template, ...]
    once: bool = False
    """One at a time for each service: asked for while it is under way, the task under way is the answer."""


_PROVIDERS: Mapping[Model, Provider] = MappingProxyType(
    {
        Model.DEEPSEEK_CHAT: Provider.DEEPSEEK,
        Model.DEEPSEEK_REASONER: Provider.DEEPSEEK,
        Model.GLM_FLASH: Provider.GLM,
        Model.GLM_VISION: Provider.GLM,
    }
)
_STREAMED = frozenset({Template.JOB_MATCH, Template.INTERVIEW_PREP})

ROUTES: Mapping[tuple[Template, Tier], Route] = MappingProxyType(
    {
        (Template.RESUME_SUMMARY, Tier.PAID): Route(Lane.PAID_BATCH, Model.DEEPSEEK_CHAT),
        (Template.RESUME_SUMMARY, Tier.FREE): Route(Lane.FREE_BATCH, Model.GLM_FLASH),
        (Template.DETAILED_RESUME_SUMMARY, Tier.PAID): Route(Lane.PAID_BATCH, Model.DEEPSEEK_REASONER),
        (Template.DETAILED_RESUME_SUMMARY, Tier.FREE): Route(Lane.FREE_BATCH, Model.GLM_FLASH),
        (Template.JOB_VISION_SUMMARY, Tier.PAID): Route(Lane.PAID_VISION, Model.GLM_VISION),
        (Template.JOB_VISION_SUMMARY, Tier.FREE): Route(Lane.FREE_BATCH, Model.GLM_VISION),
        (Template.JOB_MATCH, Tier.PAID): Route(Lane.PAID_STREAM, Model.DEEPSEEK_REASONER),
        (Template.JOB_MATCH, Tier.FREE): Route(Lane.FREE_STREAM, Model.GLM_FLASH),
        (Template.RESUME_CUSTOMIZE, Tier.PAID): Route(Lane.PAID_BATCH, Model.DEEPSEEK_CHAT),
        (Template.RESUME_CUSTOMIZE, Tier.FREE): Route(Lane.FREE_BATCH, Model.GLM_FLASH),
        (Template.INTERVIEW_PREP, Tier.PAID): Route(Lane.PAID_STREAM, Model.DEEPSEEK_CHAT),
        (Template.INTERVIEW_PREP, Tier.FREE): Route(Lane.FREE_STREAM, Model.GLM_FLASH),
    }
)

UPLOAD_RESUME = Plan(Action.UPLOAD_RESUME, 1, (Template.RESUME_SUMMARY,))
UPLOAD_DETAILED_RESUME = Plan(Action.UPLOAD_DETAILED_RESUME, 1, (Template.DETAILED_RESUME_SUMMARY,))
CREATE_SERVICE_TEXT = Plan(Action.CREATE_SERVICE, 2, (Template.JOB_MATCH,))
CREATE_SERVICE_IMAGE = Plan(Action.CREATE_SERVICE, 2, (Template.JOB_VISION_SUMMARY, Template.JOB_MATCH))
CUSTOMIZE_RESUME = Plan(Action.CUSTOMIZE_RESUME, 2, (Template.RESUME_CUSTOMIZE,), once=True)
INTERVIEW_TIPS = Plan(Action.INTERVIEW_TIPS, 2, (Template.INTERVIEW_PREP,), once=True)


def serves(lane: Lane, template: Template) -> bool:
    """Tell whether any route leads `template` to `lane`: the paths that the lane's function answers."""
    return ROUTES[template, lane.tier].lane is lane


def templates_of(lane: Lane) -> tuple[Template, ...]:
    """Return the templates that a lane serves, in a fixed order; probes are sent to the first one's path."""
    return tuple(template for template in Template if serves(lane, template))


def models_of(lane: Lane) -> frozenset[Model]:
    """Return the models that a lane may call, and so the providers whose keys its function holds."""
    return frozenset(route.model for route in ROUTES.values() if route.lane is lane)
