"""Holds a customised résumé against the candidate's own material, whatever the model says of it.

A model that wishes to please adds the skill that the job asks for, rounds a number up, or "corrects" a
telephone number. So identity is copied, not believed, and what else has no source in the material is put
before the user: `needs_review`, with a note that names it. Nothing is cut out of the text: the candidate may
know a source that the summary of their material does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shared.llm.evidence import Material, texts_of
from shared.llm.models import CustomResume, Header, Output, ResumeCustomize

Finding = tuple[str, list[str]]
"""The name of a note, and what it lists."""

_NOTES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "skills": "Not shown by your material, please check these skills: {items}.",
        "borrowed": "The job asks for this and your material does not show it, please check: {items}.",
        "employers": "Your material names no such employer: {items}.",
        "positions": "Your material names no such position: {items}.",
        "schools": "Your material names no such school: {items}.",
        "dates": "Your material does not have these dates: {items}.",
        "numbers": "Your material does not have these numbers: {items}.",
        "dropped": "Left out of the résumé, though your material has it: {items}.",
    },
    "zh": {
        "skills": "以下技能在你的材料中没有依据，请核对：{items}。",
        "borrowed": "岗位要求、但你的材料没有体现，请核对文中的相关表述：{items}。",
        "employers": "你的材料中没有这些公司：{items}。",
        "positions": "你的材料中没有这些职位：{items}。",
        "schools": "你的材料中没有这些学校：{items}。",
        "dates": "你的材料中没有这些日期：{items}。",
        "numbers": "你的材料中没有这些数字：{items}。",
        "dropped": "你的材料中有、但简历没有写入：{items}。",
    },
}
_COMMA: Mapping[str, str] = {"en": ", ", "zh": "、"}
_SEPARATORS = re.compile(r"[,，、;；|\n]|\s[·•/]\s")
_LABEL = re.compile(r"^[^:：]{1,24}[:：]\s*")
_BEFORE, _AFTER = "-*•#`_ \t.。", "-*•`_ \t.。"
_PROPER = re.compile(r"(?<![A-Za-z0-9_.+#-])[A-Z][A-Za-z0-9+#]+(?:\.[A-Za-z0-9]+)*")
"""A name as technologies have them; ordinary words have a capital only where a sentence begins."""
_BEGINS = re.compile(r"(?:^|[.!?:\n•*-])[\s*\"“]*$")
_JOB_HEAD_LINES = 3
"""Title, company and place stand at the top of an advertisement, and may be named in a summary."""
_DEMANDS = ("mustHaves", "niceToHaves", "responsibilities", "experience", "otherRequirements")


def check_customized(output: Output, inputs: Mapping[str, Any], locale: str) -> None:
    """Copy the candidate's name and contact into `output`, and note what the material does not show."""
    assert isinstance(output, ResumeCustomize)
    _copy_identity(output, inputs)
    material = Material(inputs["resume"], inputs["detailed"])
    for name, items in findings(output.resume, inputs, material):
        output.fact_check.status = "needs_review"
        output.fact_check.notes.append(_NOTES[locale][name].format(items=_COMMA[locale].join(items)))


def findings(resume: CustomResume, inputs: Mapping[str, Any], material: Material) -> Iterator[Finding]:
    """Yield what a résumé claims without a source, and what it leaves out: the kinds that there are."""
    skills = _unknown(_terms(resume.skills), material.shows_term)
    work, schools = resume.work_experiences, resume.educations
    for name, items in (
        ("skills", skills),
        ("borrowed", [term for term in _borrowed(resume, inputs["job"], material) if term not in skills]),
        ("employers", _unknown((e.company for e in work), material.shows_name)),
        ("positions", _unknown((e.position for e in work), lambda title: _shows_title(title, material))),
        ("schools", _unknown((e.school for e in schools), material.shows_name)),
        ("dates", material.unknown_years(*_dates(resume))),
        ("numbers", material.unknown_numbers(_prose(resume))),
        ("dropped", _dropped(resume, inputs)),
    ):
        if unique := list(dict.fromkeys(items)):
            yield name, unique


def _dates(resume: CustomResume) -> Iterator[str]:
    for lists in (resume.work_experiences, resume.project_experiences, resume.educations):
        for part in lists:
            yield from (part.start_date, part.end_date)


def _prose(resume: CustomResume) -> str:
    work = [part.description for part in resume.work_experiences]
    projects = [part.description for part in resume.project_experiences]
    return "\n".join([resume.basics.summary, *work, *projects])


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


def _unknown(claims: Iterator[str], shows: Callable[[str], bool]) -> list[str]:
    return [claim for claim in claims if claim and not shows(claim)]


def _shows_title(title: str, material: Material) -> bool:
    """A title may be translated, unlike an employer's name; then it cannot be compared."""
    return not material.speaks_like(title) or material.shows_term(title)


def _borrowed(resume: CustomResume, job: Any, material: Material) -> Iterator[str]:
    """Yield names that the résumé shares with the advertisement, and not with the material.

    A word that begins a sentence in both has its capital from there: one of them must show it as a name.
    """
    head, demands = _parts_of(job)
    asked = [found for text in demands for found in _names_in(text)]
    anywhere, inside = {name for name, _ in asked}, {name for name, begins in asked if not begins}
    for text in texts_of(resume.model_dump(exclude={"basics": {"name", "email", "phone", "links"}})):
        for name, begins in _names_in(text):
            if name in (inside if begins else anywhere) and not (
                head.shows_term(name) or material.shows_term(name)
            ):
                yield name


def _names_in(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in a text, each with whether it begins a sentence."""
    for match in _PROPER.finditer(text):
        yield match.group(), _BEGINS.search(text, 0, match.start()) is not None


def _parts_of(job: Any) -> tuple[Material, list[str]]:
    """Return the head of an advertisement, and what it asks for."""
    if isinstance(job, dict):
        stack = " , ".join(("", *texts_of(job.get("techStack"))))
        head = Material([job.get(name) for name in ("jobTitle", "company", "department", "location")])
        return head, [stack, *texts_of([job.get(name) for name in _DEMANDS])]
    lines = [line for line in str(job).splitlines() if line.strip()]
    return Material(lines[:_JOB_HEAD_LINES]), ["\n".join(lines[_JOB_HEAD_LINES:])]


def _dropped(resume: CustomResume, inputs: Mapping[str, Any]) -> list[str]:
    kept = Material([e.company for e in resume.work_experiences])
    summary = inputs["resume"] if isinstance(inputs["resume"], dict) else {}
    companies = (str(entry.get("company") or "") for entry in summary.get("experience") or ())
    return _unknown(companies, kept.shows_name)


def _terms(skills: str) -> Iterator[str]:
    for line in skills.splitlines():
        for term in _SEPARATORS.split(_LABEL.sub("", _bare(line))):
            if bare := _bare(re.sub(r"\s*[(（].*?[)）]", "", term)):
                yield bare


def _bare(text: str) -> str:
    return text.lstrip(_BEFORE).rstrip(_AFTER)
