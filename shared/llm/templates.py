"""What each template takes and gives, and within which limits; data, read by the prompts and the runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shared.llm.factcheck import check_customized
from shared.llm.models import (
    DetailedResumeSummary,
    JobVisionSummary,
    Output,
    ResumeCustomize,
    ResumeSummary,
)
from shared.routing import Model, Template
from shared.settings import JsonMode

EXTRACTION = 0.3
ADVICE = 0.8


@dataclass(frozen=True, slots=True)
class Spec:
    """One template: the texts and the image it takes, its output (None: streamed Markdown) and its limits."""

    texts: tuple[str, ...]
    output: type[Output] | None
    max_tokens: int
    temperature: float
    takes_image: bool = False
    check: Callable[[Output, Mapping[str, Any], str], None] | None = None
    """Holds a valid output against the inputs it was made from, in the locale's words, and mends it."""

    @property
    def inputs(self) -> frozenset[str]:
        """The names that a call must give, no more and no less."""
        return frozenset(self.texts) | (IMAGE_INPUTS if self.takes_image else frozenset())


IMAGE_INPUTS = frozenset({"image", "image_type"})

SPECS: Mapping[Template, Spec] = MappingProxyType(
    {
        Template.RESUME_SUMMARY: Spec(("resume_text",), ResumeSummary, 5_000, EXTRACTION),
        Template.DETAILED_RESUME_SUMMARY: Spec(("detailed_text",), DetailedResumeSummary, 14_000, EXTRACTION),
        Template.JOB_VISION_SUMMARY: Spec((), JobVisionSummary, 4_000, EXTRACTION, takes_image=True),
        Template.JOB_MATCH: Spec(("job", "resume", "detailed"), None, 15_000, ADVICE),
        Template.RESUME_CUSTOMIZE: Spec(
            ("resume", "detailed", "job", "match"), ResumeCustomize, 15_000, ADVICE, check=check_customized
        ),
        Template.INTERVIEW_PREP: Spec(
            ("job", "match", "customized", "resume", "detailed"), None, 8_000, ADVICE
        ),
    }
)

_JSON_MODELS = frozenset({Model.DEEPSEEK_CHAT, Model.GLM_FLASH, Model.GLM_VISION})
JSON_MODES: Mapping[JsonMode, frozenset[Model]] = MappingProxyType(
    {
        JsonMode.OBJECT: _JSON_MODELS,
        JsonMode.SCHEMA: _JSON_MODELS,
        JsonMode.GRAMMAR: frozenset(Model),
        JsonMode.NONE: frozenset(),
    }
)
"""Models that are sent a `response_format`. The reasoner takes none and is asked in the prompt alone; a
grammar is the server's work, whatever the model behind the name can do."""
