"""What the stand-in says: each task answered from the material in the prompt, in the prompt's language."""

from __future__ import annotations

import json
from typing import Any

from devstack.llm import reading, summarising
from devstack.llm.advert import seen_advert
from devstack.llm.advising import Advice
from devstack.llm.customising import customise
from devstack.llm.interviewing import Interview
from devstack.llm.matching import Match
from devstack.llm.requests import ChatRequest

_GREETING = {"zh": "你好，我是开发环境中的模型替身。", "en": "Hello, I am the model's stand-in."}
_THINKS = frozenset({"deepseek-reasoner", "glm-4.1v-thinking-flash"})


def write_answer(chat: ChatRequest) -> str:
    """Return the whole answer to a request; the same for the same request."""
    material = chat.material
    match chat.task:
        case "resume_summary":
            answer = _json(summarising.summarise(material.get("resume_text", ""), chat.locale, chat.year))
        case "detailed_resume_summary":
            answer = _json(summarising.summarise_in_detail(material.get("detailed_text", "")))
        case "job_vision_summary":
            answer = _json(seen_advert(chat.locale))
        case "resume_customize":
            answer = _json(customise(Advice(**_material(chat))))
        case "job_match":
            answer = Match(**_material(chat)).text()
        case "interview_prep":
            answer = Interview(**_material(chat)).text()
        case _:
            answer = _GREETING[chat.locale]
    return answer


def write_thoughts(chat: ChatRequest) -> str:
    """Return what a thinking model streams before its answer; empty for the others."""
    if chat.model not in _THINKS:
        return ""
    if chat.locale == "zh":
        return "先读一遍材料，列出要求，再逐条对照依据，最后组织回答。"
    return "Let me read the material, list the requirements, hold each against the evidence, then write."


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _material(chat: ChatRequest) -> dict[str, Any]:
    material = chat.material
    return {
        "resume": reading.as_object(material.get("resume", "")) or {},
        "detailed": reading.as_object(material.get("detailed", "")),
        "job": reading.read_job(material.get("job", "")),
        "locale": chat.locale,
    }
