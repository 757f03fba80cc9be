"""The stand-in's customised résumé: the candidate's own facts, those that the job asks for first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from devstack.llm import reading
from devstack.llm.advising import Advice

_NUMBER = re.compile(r"\d")
_DEGREE = re.compile(
    r"(?P<degree>B\.?Sc|M\.?Sc|BA|MA|MBA|Ph\.?D\.?|Bachelor|Master|Diploma)\.?(?: of| in)? (?P<major>.+)"
)
_DEGREE_ZH = re.compile(r"专科|大专|本科|学士|硕士|博士")


def customise(advice: Advice) -> dict[str, Any]:
    """Return the object of `resume_customize`."""
    resume = advice.resume
    wanted = [proof.skill for proof in advice.fit.fits]
    gaps = [gap.wish for gap in advice.fit.gaps]
    suggestions = [*_suggestions(advice, wanted, gaps)]
    return {
        "suggestions": [{"adjustment": what, "reason": why} for what, why in suggestions[:5]],
        "resume": {
            "basics": {**(resume.get("header") or {}), "summary": _pitch(advice, wanted)},
            "workExperiences": [_work(entry, wanted) for entry in resume.get("experience", [])],
            "projectExperiences": [
                *(_project(project) for project in resume.get("projects", [])),
                *(_from_history(project) for project in _history(advice)),
            ],
            "educations": [_schooling(entry) for entry in resume.get("education", [])],
            "skills": _skills(advice, wanted),
            "certificates": "\n".join(resume.get("certifications", [])),
            "customSections": [],
        },
        "factCheck": {
            "status": "verified",
            "notes": [advice.wording.say("left_out", gap=gap) for gap in gaps[:5]],
        },
    }


def _suggestions(advice: Advice, wanted: list[str], gaps: list[str]) -> Iterator[tuple[str, str]]:
    wording = advice.wording
    top = wording.listing(wanted[:4])
    if wanted:
        yield wording.pair("suggestion_skills", skills=top, title=advice.title)
    for entry in advice.resume.get("experience", []):
        lines = entry.get("highlights", [])
        if lines and (first := _ranked(lines, wanted)[0]) != lines[0]:
            short = wording.clipped(first.rstrip(".。"), 18)
            yield wording.pair("suggestion_order", place=entry.get("company", ""), text=short)
            break
    for project in _history(advice)[:1]:
        names = [skill for skill in wanted if reading.found_in(str(project), (skill,))]
        why = wording.say("why_skill", skill=names[0]) if names else wording.say("why_result")
        yield wording.pair("suggestion_project", name=project.get("name", ""), why=why)
    if wanted:
        yield wording.pair("suggestion_summary", skills=wording.listing(wanted[:3]))
    if gaps:
        yield wording.pair("suggestion_gap", gaps=wording.listing(gaps[:3]))
    yield wording.pair("suggestion_numbers")


def _pitch(advice: Advice, wanted: list[str]) -> str:
    wording, summary = advice.wording, str(advice.resume.get("summary", "")).strip()
    said = [summary] if summary else []
    if wanted:
        said.append(wording.say("pitch", skills=wording.listing(wanted[:4])))
    if best := next((proof for proof in advice.done if proof.company == advice.employer), None):
        said.append(wording.say("pitch_result", text=wording.sentence(best.text)))
    return ("" if wording.zh else " ").join(said)


def _ranked(lines: list[str], wanted: list[str]) -> list[str]:
    """Put first what the job asks for, and of that what has a number."""
    return sorted(
        lines, key=lambda line: (-len(reading.found_in(line, tuple(wanted))), not _NUMBER.search(line))
    )


def _work(entry: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    start, end = _period(entry.get("duration", ""))
    return {
        "company": entry.get("company", ""),
        "position": entry.get("role", ""),
        "startDate": start,
        "endDate": end,
        "description": "\n".join(f"- {line}" for line in _ranked(entry.get("highlights", []), wanted)),
    }


def _project(project: dict[str, Any]) -> dict[str, Any]:
    lines = [project.get("description", ""), *project.get("highlights", [])]
    description = "\n".join(f"- {line}" for line in lines if line)
    return {
        "name": project.get("name", ""),
        "role": "",
        "startDate": "",
        "endDate": "",
        "description": description,
    }


def _history(advice: Advice) -> list[dict[str, Any]]:
    """Return the two projects of the detailed history that serve the job most."""
    projects = [p for e in (advice.detailed or {}).get("experiences", []) for p in e.get("projects", [])]
    skills = tuple(advice.job.skills)
    return sorted(projects, key=lambda project: -len(reading.found_in(str(project), skills)))[:2]


def _from_history(project: dict[str, Any]) -> dict[str, Any]:
    lines = [*project.get("results", []), *project.get("actions", [])]
    return _project({"name": project.get("name", ""), "highlights": [_opened(line) for line in lines]})


def _opened(line: str) -> str:
    """Return a line with a capital, unless it begins with a name such as p99."""
    return f"{line[:1].upper()}{line[1:]}" if line[:2].isalpha() else line


def _skills(advice: Advice, wanted: list[str]) -> str:
    skills = advice.resume.get("skills") or {}
    first = {skill.casefold() for skill in wanted}
    lines = []
    for group in ("technical", "tools", "soft"):
        names = sorted(skills.get(group, []), key=lambda name: name.casefold() not in first)
        if names:
            colon = "：" if advice.wording.zh else ": "
            said = advice.wording.say("separator").join(names)
            lines.append(f"- {advice.wording.say(f'group_{group}')}{colon}{said}")
    return "\n".join(lines)


def _schooling(entry: dict[str, Any]) -> dict[str, Any]:
    start, end = _period(entry.get("duration", ""))
    degree, major = _degree(entry.get("degree", ""))
    return {
        "school": entry.get("school", ""),
        "degree": degree,
        "major": major,
        "startDate": start,
        "endDate": end,
    }


def _degree(text: str) -> tuple[str, str]:
    """Part "BSc Computer Science" and "软件工程, 本科" into degree and subject."""
    if match := _DEGREE.fullmatch(text.strip()):
        return match["degree"], match["major"]
    parts = [part.strip() for part in re.split(r"[,，、]", text) if part.strip()]
    degrees = [part for part in parts if _DEGREE_ZH.search(part)]
    if degrees and len(parts) > 1:
        return degrees[0], "，".join(part for part in parts if part != degrees[0])
    return text, ""


def _period(duration: str) -> tuple[str, str]:
    period = reading.RANGE.search(duration)
    return (period.group(1), period.group(2).replace("今", "至今")) if period else ("", duration)
