"""Runs templates against the LLM stand-in, and keeps what their callbacks heard."""

from __future__ import annotations

import datetime as dt
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from devstack.llm import LlmStandIn
from shared.config import JsonMode, ProviderSettings
from shared.llm.prompts import Locale
from shared.llm.runner import Outcome, StopSignal, TemplateCall, run_template
from shared.routing import Model, Template

RESUME = """Mara Lindqvist
mara@example.com | +44 20 7946 0958

EXPERIENCE
Senior Backend Engineer, Northwind Payments, March 2021 to present
- Moved settlement to streams (Kafka, Python): from 14 hours to 9 minutes.

EDUCATION
BSc Computer Science, University of Leeds, 2013 to 2017

SKILLS
Python, Go, Kafka, Redis
"""
SUMMARY: Mapping[str, Any] = {
    "header": {"name": "Mara Lindqvist", "email": "mara@example.com", "phone": "", "links": []},
    "experience": [
        {"role": "Engineer", "company": "Northwind", "duration": "2021–2024", "highlights": ["Did it"]}
    ],
    "skills": {"technical": ["Python"], "soft": [], "tools": ["Redis"]},
}
JOB = "Platform Engineer\nCompany: Brightwater\n\nRequirements\n- Python\n- Kafka\n"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(buffer, "PNG")
    return buffer.getvalue()


INPUTS: Mapping[Template, Mapping[str, Any]] = {
    Template.RESUME_SUMMARY: {"resume_text": RESUME},
    Template.DETAILED_RESUME_SUMMARY: {"detailed_text": RESUME},
    Template.JOB_VISION_SUMMARY: {"image": png(), "image_type": "image/png"},
    Template.JOB_MATCH: {"job": JOB, "resume": SUMMARY, "detailed": None},
    Template.RESUME_CUSTOMIZE: {"resume": SUMMARY, "detailed": None, "job": JOB, "match": "score: 80\n\nGood."},
    Template.INTERVIEW_PREP: {
        "job": JOB, "match": "score: 80", "customized": None, "resume": SUMMARY, "detailed": None,
    },
}  # fmt: skip
MODELS: Mapping[Template, Model] = {
    Template.RESUME_SUMMARY: Model.DEEPSEEK_CHAT,
    Template.DETAILED_RESUME_SUMMARY: Model.DEEPSEEK_REASONER,
    Template.JOB_VISION_SUMMARY: Model.GLM_VISION,
    Template.JOB_MATCH: Model.DEEPSEEK_REASONER,
    Template.RESUME_CUSTOMIZE: Model.DEEPSEEK_CHAT,
    Template.INTERVIEW_PREP: Model.GLM_FLASH,
}


def make_call(
    template: Template, locale: Locale = "en", model: Model | None = None, **inputs: Any
) -> TemplateCall:
    given = {**INPUTS[template], **inputs}
    return TemplateCall(template, model or MODELS[template], locale, given, dt.date(2026, 11, 24))


@dataclass
class Attempt:
    """One run of a template against a stand-in."""

    llm: LlmStandIn
    idle_seconds: float = 5.0
    json_mode: JsonMode = JsonMode.OBJECT
    stop: StopSignal = field(default_factory=StopSignal)
    texts: list[str] = field(default_factory=list)
    thoughts: int = 0
    on_text: Callable[[str], None] | None = None

    def run(self, call: TemplateCall) -> Outcome:
        return run_template(
            call,
            provider=ProviderSettings(self.llm.base_url, "key-of-the-lane", self.json_mode),
            stop=self.stop,
            on_text=self.on_text or self.texts.append,
            on_thinking=self._think,
            idle_seconds=self.idle_seconds,
        )

    def _think(self) -> None:
        self.thoughts += 1


def wait_until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    """Poll with a deadline; fails when `holds` does not come true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
