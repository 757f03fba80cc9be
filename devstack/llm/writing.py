"""What the stand-in says: each task answered from the material in the prompt, in the prompt's language."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from devstack.llm import reading, summarising
from devstack.llm.advert import seen_advert
from devstack.llm.customising import customise
from devstack.llm.reading import Job
from devstack.llm.requests import ChatRequest

_THINKS = frozenset({"deepseek-reasoner", "glm-4.1v-thinking-flash"})


def write_answer(chat: ChatRequest) -> str:
    """Return the whole answer to a request; the same for the same request."""
    material = chat.material
    match chat.task:
        case "resume_summary":
            return _json(summarising.summarise(material.get("resume_text", ""), chat.locale, chat.year))
        case "detailed_resume_summary":
            return _json(summarising.summarise_in_detail(material.get("detailed_text", "")))
        case "job_vision_summary":
            return _json(seen_advert(chat.locale))
        case "resume_customize":
            resume, job = (
                reading.as_object(material.get("resume", "")) or {},
                reading.read_job(material.get("job", "")),
            )
            detailed = reading.as_object(material.get("detailed", ""))
            return _json(customise(resume, detailed, job, chat.locale))
        case "job_match" | "interview_prep" as task:
            return _markdown(task, chat)
    return "你好，我是开发环境中的模型替身。" if chat.locale == "zh" else "Hello, I am the model's stand-in."


def write_thoughts(chat: ChatRequest) -> str:
    """Return what a thinking model streams before its answer; empty for the others."""
    if chat.model not in _THINKS:
        return ""
    if chat.locale == "zh":
        return "先读一遍材料，列出要求，再逐条对照依据，最后组织回答。"
    return "Let me read the material, list the requirements, hold each against the evidence, then write."


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _markdown(task: str, chat: ChatRequest) -> str:
    resume = reading.as_object(chat.material.get("resume", "")) or {}
    job = reading.read_job(chat.material.get("job", ""))
    return _text(task, chat.locale).format_map(_facts(resume, job, chat.locale))


def _facts(resume: dict[str, Any], job: Job, locale: str) -> dict[str, Any]:
    """Return what the texts speak of: the person, the job, what fits and what is missing."""
    zh = locale == "zh"
    skills = resume.get("skills") or {}
    own = {s.casefold() for s in [*skills.get("technical", []), *skills.get("tools", [])]}
    fits = [s for s in job.skills if s.casefold() in own]
    gaps = [s for s in job.skills if s.casefold() not in own]
    asked = [*gaps, *(wish for wish in job.nices if not any(skill in wish.casefold() for skill in own))]
    experience = resume.get("experience") or [{}]
    highlights = [h for e in experience for h in e.get("highlights", [])]
    words = (
        ("这个职位", "这家公司", "候选人", "（材料未写明）")
        if zh
        else ("this position", "this company", "the candidate", "(not stated)")
    )
    return {
        "score": _score(fits, gaps),
        "title": job.title or words[0],
        "company": job.company or words[1],
        "name": (resume.get("header") or {}).get("name") or words[2],
        "role": experience[0].get("role") or words[3],
        "employer": experience[0].get("company") or words[3],
        "fit1": _nth(fits, 0, words[3]),
        "fit2": _nth(fits, 1, _nth(fits, 0, words[3])),
        "fits": ("、" if zh else ", ").join(fits[:5]) or words[3],
        "gap1": _nth(asked, 0, words[3]),
        "gap2": _nth(asked, 1, _nth(fits, -1, words[3])),
        "proof1": _nth(highlights, 0, words[3]).rstrip(".。"),
        "proof2": _nth(highlights, 1, _nth(highlights, 0, words[3])).rstrip(".。"),
        "duty": _nth(job.duties, 0, job.title or words[0]).rstrip(".。;；"),
        "must": _nth(job.musts, 0, ("、" if zh else ", ").join(job.skills[:2])).rstrip(".。;；"),
    }


def _score(fits: list[str], gaps: list[str]) -> int:
    share = len(fits) / (len(fits) + len(gaps)) if fits or gaps else 0.6
    score = round(40 + 55 * share)
    return min(score, 60) if share < 0.5 else score


def _nth(items: list[str], index: int, otherwise: str) -> str:
    return items[index] if -len(items) <= index < len(items) else otherwise


@cache
def _text(task: str, locale: str) -> str:
    return files("devstack.llm").joinpath("texts", f"{task}.{locale}.md").read_text("utf-8")
