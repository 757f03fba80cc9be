"""The stand-in's customised résumé: the candidate's own facts, those that the job asks for first."""

from __future__ import annotations

from typing import Any

from devstack.llm import reading
from devstack.llm.reading import Job


def customise(
    resume: dict[str, Any], detailed: dict[str, Any] | None, job: Job, locale: str
) -> dict[str, Any]:
    """Return the object of `resume_customize`: the candidate's own facts, the job's first."""
    wanted = [s.casefold() for s in job.skills]
    skills = resume.get("skills") or {}
    own = [*skills.get("technical", []), *skills.get("tools", [])]
    first = [s for s in own if s.casefold() in wanted]
    missing = [s for s in job.skills if s.casefold() not in {o.casefold() for o in own}]
    return {
        "suggestions": _suggestions(first, missing, job, locale),
        "resume": {
            "basics": {**resume.get("header", {}), "summary": _pitch(resume, first, job, locale)},
            "workExperiences": [_work(e, wanted) for e in resume.get("experience", [])],
            "projectExperiences": [_project(p) for p in resume.get("projects", [])]
            + _detailed_projects(detailed),
            "educations": [_schooling(e) for e in resume.get("education", [])],
            "skills": ", ".join([*first, *(s for s in own if s not in first)]),
            "certificates": "\n".join(resume.get("certifications", [])),
            "customSections": [],
        },
        "factCheck": {"status": "verified", "notes": _notes(missing, locale)},
    }


def _suggestions(first: list[str], missing: list[str], job: Job, locale: str) -> list[dict[str, str]]:
    zh, own, gaps = locale == "zh", ", ".join(first[:4]), ", ".join(missing[:3])
    made = [
        ("每段经历以带数字的成果开头", "招聘方先看结果，再看过程")
        if zh
        else ("Each position opens with a result and its number", "Readers look for outcomes first"),
        ("与岗位关系最近的成果排在前面", "招聘方读一份简历不到一分钟")
        if zh
        else (
            "Achievements closest to the job come first",
            "A recruiter reads a résumé for less than a minute",
        ),
    ]
    if own:
        made.insert(
            0,
            (f"技能一栏把 {own} 放到最前", f"{job.title}的招聘启事明确要求这些技能")
            if zh
            else (
                f"Moved {own} to the front of the skills",
                f"The advertisement for a {job.title} asks for them",
            ),
        )
    if gaps:
        made.append(
            (f"没有写入 {gaps}", "材料中没有体现，不能凭空添加")
            if zh
            else (f"Left out {gaps}", "The material does not show it, so the résumé must not claim it")
        )
    return [{"adjustment": adjustment, "reason": reason} for adjustment, reason in made]


def _pitch(resume: dict[str, Any], first: list[str], job: Job, locale: str) -> str:
    summary, skills = resume.get("summary", ""), ", ".join(first[:4])
    if not skills:
        return str(summary)
    fits = (
        f"与{job.title}相关的技能：{skills}。" if locale == "zh" else f"For the {job.title} role: {skills}."
    )
    return f"{summary} {fits}".strip()


def _work(experience: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    start, end = _period(experience.get("duration", ""))
    ranked = sorted(experience.get("highlights", []), key=lambda h: -sum(w in h.casefold() for w in wanted))
    return {
        "company": experience.get("company", ""),
        "position": experience.get("role", ""),
        "startDate": start,
        "endDate": end,
        "description": "\n".join(f"- {h}" for h in ranked),
    }


def _project(project: dict[str, Any]) -> dict[str, Any]:
    points = [project.get("description", ""), *(f"- {h}" for h in project.get("highlights", []))]
    return {
        "name": project.get("name", ""),
        "role": "",
        "startDate": "",
        "endDate": "",
        "description": "\n".join(point for point in points if point),
    }


def _detailed_projects(detailed: dict[str, Any] | None) -> list[dict[str, Any]]:
    projects = [p for e in (detailed or {}).get("experiences", []) for p in e.get("projects", [])]
    return [_project({"name": p.get("name", ""), "highlights": p.get("actions", [])}) for p in projects[:2]]


def _schooling(education: dict[str, Any]) -> dict[str, Any]:
    start, end = _period(education.get("duration", ""))
    school, degree = education.get("school", ""), education.get("degree", "")
    return {"school": school, "degree": degree, "major": "", "startDate": start, "endDate": end}


def _notes(missing: list[str], locale: str) -> list[str]:
    if locale == "zh":
        return [f"材料没有体现 {m}，简历中未写入。" for m in missing[:5]]
    return [f"{m} is not shown by the material and was left out." for m in missing[:5]]


def _period(duration: str) -> tuple[str, str]:
    period = reading.RANGE.search(duration)
    return (period.group(1), period.group(2).replace("今", "至今")) if period else ("", duration)
