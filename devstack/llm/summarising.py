"""The stand-in's structured answers about a person: the summary and the detailed summary of a résumé."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from devstack.llm import reading
from devstack.llm.wording import Wording

_PARENTHESIS = re.compile(r"[(（][^()（）]*[)）]")
_CLAUSES = re.compile(r"[:：;；，。]\s*|,\s+|\.\s+")
_TRAILING = re.compile(
    r"(?:\s+(?:of|by|to|from|in|at|for|and|than|is|fell|went|takes|took|with|which|who))+$"
    r"|(?:由|从|至|到|了|为|提升|减少|低于)+$"
)
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
    skills = _skills(text, sections.get("skills", []))
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
        "profile": _profile(sections, experience, skills, locale, year),
    }


def summarise_in_detail(text: str) -> dict[str, Any]:
    """Return the object of `detailed_resume_summary`; numbers as they are in the text."""
    sections = reading.sections_of(text)
    positions = _positions(sections.get("experience") or sections["top"])
    skills = _skills(text, sections.get("skills", []))
    return {
        "header": header_of(text),
        "summary": " ".join(sections.get("summary", [])) or _first_highlights(positions),
        "experiences": [_in_detail(position) for position in positions],
        "capabilities": _items(sections.get("capabilities", [])) or skills["technical"][:6],
        "education": _education(sections.get("education", [])),
        "skills": skills,
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
    elif reading.is_role(company) and not reading.is_role(role):
        role, company = company, role
    return {"role": role, "company": company, "product": product, "duration": duration, "highlights": []}


def _in_detail(position: dict[str, Any]) -> dict[str, Any]:
    text = "\n".join(position["highlights"])
    return {
        "company": position["company"],
        "product": position["product"],
        "role": position["role"],
        "duration": position["duration"],
        "keywords": reading.found_in(text, reading.TECHNICAL + reading.TOOLS),
        "highlights": [line for line in position["highlights"] if not _PROJECT.match(line)],
        "metrics": [metric for line in position["highlights"] for metric in _metrics(line)],
        "projects": [_star(match) for line in position["highlights"] if (match := _PROJECT.match(line))],
    }


def _metrics(line: str) -> Iterator[dict[str, str]]:
    """Yield the numbers of a line, each labelled by the clause that it stands in."""
    before = ""
    for clause in _CLAUSES.split(_PARENTHESIS.sub("", line)):
        for found in reading.METRIC.finditer(clause):
            value, unit = found.groups()
            yield {"label": _label(before, clause, found), "value": value, "unit": unit, "period": ""}
        before = clause


def _label(before: str, clause: str, found: re.Match[str]) -> str:
    """Return what a number measures: what stands before it, else after it, else in the clause before."""
    label = _TRAILING.sub("", clause[: found.start()].strip(" -"))
    if label and not _TRAILING.fullmatch(f" {label}"):
        return label
    after = clause[found.end() :].strip(" -.")
    return f"{found.group(2).split()[-1]} {after}" if after else before.strip(" -") or clause.strip()


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


def _skills(text: str, lines: list[str]) -> dict[str, list[str]]:
    """Return the skills that are listed, by their labels, and then those that are named elsewhere."""
    listed: dict[str, list[str]] = {"technical": [], "soft": [], "tools": []}
    for line in reading.bullets(lines):
        label, _, rest = line.replace("：", ":").rpartition(":")
        for item in _items([rest]):
            listed[_group_of(label, item)].append(item)
    named = {"technical": reading.TECHNICAL, "soft": reading.SOFT, "tools": reading.TOOLS}
    known = "\n".join(item.casefold() for items in listed.values() for item in items)
    return {
        group: list(dict.fromkeys(items))
        + [term for term in reading.found_in(text, named[group]) if term.casefold() not in known]
        for group, items in listed.items()
    }


def _group_of(label: str, item: str) -> str:
    if re.search(r"soft|people|personal|软技能|软实力|协作", label, re.IGNORECASE) or item in reading.SOFT:
        return "soft"
    if re.search(r"tool|platform|software|工具|平台", label, re.IGNORECASE) or item in reading.TOOLS:
        return "tools"
    return "technical"


def _profile(
    sections: dict[str, list[str]],
    positions: list[dict[str, Any]],
    skills: dict[str, list[str]],
    locale: str,
    year: int,
) -> dict[str, Any]:
    told = "\n".join(line for name, lines in sections.items() if name != "education" for line in lines)
    starts = [int(y) for p in positions for y in _YEAR.findall(p["duration"])]
    years = year - min(starts) if starts else None
    return {
        "persona": _persona(positions, years, locale),
        "yearsOfExperience": years,
        "domainExpertise": reading.found_in(told, reading.DOMAINS)[:4],
        "coreStrengths": _strengths(positions, skills["technical"] + skills["tools"])[:3],
    }


def _persona(positions: list[dict[str, Any]], years: int | None, locale: str) -> str:
    if not positions or not positions[0]["role"]:
        return ""
    name = "persona" if years else "persona_short"
    latest = positions[0]
    return Wording(locale).say(name, role=latest["role"], place=latest["company"], years=years)


def _strengths(positions: list[dict[str, Any]], skills: list[str]) -> list[dict[str, str]]:
    """Return skills with the achievement that shows each, no achievement twice."""
    found: dict[str, str] = {}
    for line in (line for position in positions for line in position["highlights"]):
        shown = [skill for skill in reading.found_in(line, tuple(skills)) if skill not in found.values()]
        if shown:
            found[line] = shown[0]
    return [{"trait": trait, "evidence": line} for line, trait in found.items()]


def _first_highlights(positions: list[dict[str, Any]]) -> str:
    return " ".join(p["highlights"][0] for p in positions[:2] if p["highlights"])


def _items(lines: list[str]) -> list[str]:
    return [
        item.strip(" .。")
        for line in reading.bullets(lines)
        for item in re.split(r"[,，、;；|]", line)
        if item.strip(" .。")
    ]


def _at(parts: list[str], index: int) -> str:
    return parts[index] if index < len(parts) else ""
