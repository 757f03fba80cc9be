"""Holds a customised résumé against the candidate's own material, whatever the model says of it.

A model that wishes to please adds the skill that the job asks for, or "corrects" a telephone number. So
identity is copied, not believed, and a skill that the material does not show is put before the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.llm.models import Header, Output, ResumeCustomize

_NOTE: Mapping[str, str] = {
    "en": "Not shown by your material, please check: {skills}",
    "zh": "以下技能在你的材料中没有依据，请核对：{skills}",
}
_SEPARATORS = re.compile(r"[,，、;；|\n]|\s[·•/]\s")
_LABEL = re.compile(r"^[^:：]{1,24}[:：]\s*")
_DECORATION = "-*•#`_ \t.。"


def check_customized(output: Output, inputs: Mapping[str, Any], locale: str) -> None:
    """Copy the candidate's name and contact into `output`, and note skills that the material lacks."""
    assert isinstance(output, ResumeCustomize)
    _copy_identity(output, inputs)
    unknown = unknown_skills(output.resume.skills, inputs)
    if unknown:
        output.fact_check.status = "needs_review"
        output.fact_check.notes.append(_NOTE[locale].format(skills=", ".join(unknown)))


def unknown_skills(skills: str, inputs: Mapping[str, Any]) -> list[str]:
    """Return the skills that stand nowhere in the résumé and the history, in the order of the text."""
    material = json.dumps([inputs["resume"], inputs["detailed"]], ensure_ascii=False).casefold()
    return list(dict.fromkeys(skill for skill in _terms(skills) if skill.casefold() not in material))


def _copy_identity(output: ResumeCustomize, inputs: Mapping[str, Any]) -> None:
    basics = output.resume.basics
    sources = [_header(inputs["resume"]), _header(inputs["detailed"])]
    basics.name, basics.email, basics.phone = (
        next((value for header in sources if (value := getattr(header, name))), "")
        for name in ("name", "email", "phone")
    )
    basics.links = next((header.links for header in sources if header.links), [])


def _header(summary: Any) -> Header:
    return Header.model_validate(summary.get("header") or {}) if isinstance(summary, dict) else Header()


def _terms(skills: str) -> Iterator[str]:
    for line in skills.splitlines():
        for term in _SEPARATORS.split(_LABEL.sub("", line.strip(_DECORATION))):
            bare = re.sub(r"\s*[(（].*?[)）]", "", term).strip(_DECORATION)
            if bare:
                yield bare
