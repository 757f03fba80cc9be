"""The stand-in's structured answers about a person: the summary and the detailed summary of a résumé."""

from __future__ import annotations

import re
from typing import Any

from devstack.llm import reading

_YEAR = re.compile(r"(?:19|20)\d\d")
_HEAD = 120
"""A line longer than this tells a story; it is not the head of a position."""
_PROJECT = re.compile(
    r"\W*(?:Project|项目)\s*[\"“「《]?(.+?)[\"”」》]?\s*(?:[(（].*?[)）])?[.。:：]\s*"
    r"(?:Task|任务)[:：](.+?)(?:Actions?|行动)[:：](.+?)(?:Results?|结果)[:：](.+)"
)
_PRODUCT = re.compile(r"(?:product|产品)\s*[:：]\s*", re.IGNORECASE)
_SCHOOL = re.compile(r"universit|college|institute|school|academy|大学|学院", re.IGNORECASE)


def header_of(text: str) -> dict[str, Any]:
    email, links = reading.EMAIL.search(text), reading.LINK.findall(text)
    phone = reading.PHONE.search(reading.RANGE.sub("", text))
    lines = [line.strip("#* \t") for line in text.splitlines() if line.strip("#* \t")]
    name = re.sub(r"^(?:name|姓名)\s*[:：]\s*", "", lines[0], flags=re.IGNORECASE) if lines else ""
    name = re.split(r"\s*[|,，·—–]\s*|\s{2,}| - ", name)[0]
    return {
        "name": name if len(name) <= 40 and "@" not in name else "",
        "email": email.group() if email else "",
        "phone": phone.group().strip() if phone else "",
        "links": list(dict.fromkeys(links)),
    }


def summarise(text: str, locale: str, year: int) -> dict[str, Any]:
    """Return the object of `resume_summary`."""
    sections = reading.sections_of(text)
    skills = _skills(text)
    experience = _positions(sections.get("experience", []))
    return {
        "header": header_of(text),
        "summary": " ".join(sections.get("summary", [])) or _first_highlights(experience),
        "experience": [
            {k: p[k] for k in ("role", "company", "duration", "highlights")}
            | {"stack": reading.found_in(" ".join(p["highlights"]), reading.TECHNICAL + reading.TOOLS)}
            for p in experience
        ],
        "projects": _projects(sections.get("projects", [])),
        "education": _education(sections.get("education", [])),
        "skills": skills,
        "certifications": reading.bullets(sections.get("certifications", [])),
        "languages": _items(sections.get("languages", [])),
        "profile": _profile(text, experience, skills, locale, year),
    }


def summarise_in_detail(text: str) -> dict[str, Any]:
    """Return the object of `detailed_resume_summary`; numbers as they are in the text."""
    sections = reading.sections_of(text)
    positions = _positions(sections.get("experience") or sections["top"])
    return {
        "header": header_of(text),
        "summary": " ".join(sections.get("summary", [])) or _first_highlights(positions),
        "experiences": [_in_detail(position) for position in positions],
        "capabilities": _items(sections.get("capabilities", [])) or _skills(text)["technical"][:6],
        "education": _education(sections.get("education", [])),
        "skills": _skills(text),
        "rawSections": [
            {"title": title, "points": reading.bullets(sections[title])}
            for title in ("certifications", "languages")
            if sections.get(title)
        ],
    }


def _positions(lines: list[str]) -> list[dict[str, Any]]:
    """Group lines into positions: a line with a period opens one, what follows belongs to it."""
    positions: list[dict[str, Any]] = []
    for line in lines:
        period = reading.RANGE.search(line)
        if period and len(line) < _HEAD and not reading.is_bullet(line) and not _PROJECT.match(line):
            positions.append(_position(reading.split_line(line), period.group()))
        elif positions and line.strip():
            positions[-1]["highlights"].append(reading.bullets([line.strip()])[0])
    return positions


def _position(parts: list[str], duration: str) -> dict[str, Any]:
    """Read "Role, Company", or "Company, product: Product, Role" as a detailed history has it."""
    at = next((i for i, part in enumerate(parts) if _PRODUCT.match(part)), None)
    role, company, product = _at(parts, 0), _at(parts, 1), ""
    if at is not None:
        product, rest = _PRODUCT.sub("", parts[at]), parts[:at] + parts[at + 1 :]
        role, company = _at(rest, 1), _at(rest, 0)
    return {"role": role, "company": company, "product": product, "duration": duration, "highlights": []}


def _in_detail(position: dict[str, Any]) -> dict[str, Any]:
    text = "\n".join(position["highlights"])
    metrics = [
        {"label": line[:60], "value": value, "unit": unit, "period": ""}
        for line in position["highlights"]
        for value, unit in reading.METRIC.findall(line)
    ]
    return {
        "company": position["company"],
        "product": position["product"],
        "role": position["role"],
        "duration": position["duration"],
        "keywords": reading.found_in(text, reading.TECHNICAL + reading.TOOLS),
        "highlights": [line for line in position["highlights"] if not _PROJECT.match(line)],
        "metrics": metrics,
        "projects": [_star(match) for line in position["highlights"] if (match := _PROJECT.match(line))],
    }


def _star(match: re.Match[str]) -> dict[str, Any]:
    name, task, actions, results = (part.strip(" .。") for part in match.groups())
    steps = [step.strip() for step in re.split(r"[;；]", actions)]
    return {"name": name, "description": "", "task": [task], "actions": steps, "results": [results]}


def _projects(lines: list[str]) -> list[dict[str, Any]]:
    projects: list[dict[str, Any]] = []
    for line in lines:
        bare = reading.bullets([line])[0]
        if not reading.is_bullet(line) or not projects:
            name, _, description = re.sub(r"\s*[—–]\s*|\s+-\s+", ": ", bare).replace("：", ":").partition(":")
            projects.append({"name": name.strip(), "description": description.strip(), "highlights": []})
        else:
            projects[-1]["highlights"].append(bare)
    return projects


def _education(lines: list[str]) -> list[dict[str, str]]:
    schools = []
    for line in reading.bullets(lines):
        period, parts = reading.RANGE.search(line), reading.split_line(line)
        school = next((p for p in parts if _SCHOOL.search(p)), "")
        degree = ", ".join(p for p in parts if p != school and not _YEAR.fullmatch(p))
        if school or degree:
            years = _YEAR.findall(line)
            duration = period.group() if period else "".join(years[-1:])
            schools.append({"degree": degree, "school": school, "duration": duration})
    return schools


def _skills(text: str) -> dict[str, list[str]]:
    return {
        "technical": reading.found_in(text, reading.TECHNICAL),
        "soft": reading.found_in(text, reading.SOFT),
        "tools": reading.found_in(text, reading.TOOLS),
    }


def _profile(
    text: str, positions: list[dict[str, Any]], skills: dict[str, list[str]], locale: str, year: int
) -> dict[str, Any]:
    starts = [int(y) for p in positions for y in _YEAR.findall(p["duration"])]
    role = positions[0]["role"] if positions else ""
    zh = locale == "zh"
    return {
        "persona": (f"一位{role}" if zh else f"A {role}") if role else "",
        "yearsOfExperience": year - min(starts) if starts else None,
        "domainExpertise": skills["technical"][:3],
        "coreStrengths": [
            {"trait": s, "evidence": _evidence(text, s)} for s in (skills["technical"] + skills["tools"])[:3]
        ],
    }


def _evidence(text: str, term: str) -> str:
    lines = [line.strip(" -*•") for line in text.splitlines() if term.casefold() in line.casefold()]
    return max(lines, key=len, default="")


def _first_highlights(positions: list[dict[str, Any]]) -> str:
    return " ".join(p["highlights"][0] for p in positions[:2] if p["highlights"])


def _items(lines: list[str]) -> list[str]:
    return [
        item.strip()
        for line in reading.bullets(lines)
        for item in re.split(r"[,，、;；|]", line)
        if item.strip()
    ]


def _at(parts: list[str], index: int) -> str:
    return parts[index] if index < len(parts) else ""
