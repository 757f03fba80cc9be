"""How a person fits a job, by simple rules: what is asked for, what the material shows, and what not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from devstack.llm import reading
from devstack.llm.reading import Job
from shared.llm.evidence import Material

DEGREE_CAP, CORE_CAP = 55, 60
_DEGREE = re.compile(r"\bdegree\b|bachelor|master|diploma|本科|硕士|学历|学位", re.IGNORECASE)
_SOFTENED = re.compile(r"equivalent|preferred|a plus|ideally|同等|优先", re.IGNORECASE)
_EITHER = re.compile(r"\bor\b|或|/", re.IGNORECASE)
_YEARS = re.compile(r"(\d+|[一二三四五六七八九十])\s*\+?\s*(?:years|年)")
_NUMERALS = "〇一二三四五六七八九十"
_NUMBER = re.compile(r"\d")
_ZH_FILLERS = re.compile(
    r"良好的|有一定的|有|熟悉|熟练|精通|了解|掌握|具备|能够|使用|实践|工作|相关|行业|经验|优先|以上|及|者|可"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """A skill that the job asks for, with the sentence of the material that shows it; "" when only listed."""

    skill: str
    text: str = ""
    company: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that the job asks for and the material does not show."""

    wish: str
    required: bool

    @property
    def is_skill(self) -> bool:
        """Tell whether it has a name, and is no phrase of the advertisement's."""
        return self.wish in reading.TECHNICAL + reading.TOOLS


@dataclass(slots=True)
class Fit:
    """A person held against a job."""

    fits: list[Proof] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    score: int = 0
    cap: str = ""
    """`degree` or `core` when that held the score down, `below` when it would have."""


def assess(resume: dict[str, Any], detailed: dict[str, Any] | None, job: Job) -> Fit:
    """Compare each requirement with the material, musts first."""
    material = Material(resume, detailed)
    asked = skills_asked(job, resume)
    fits = list(_proofs([skill for skill in asked if material.shows_term(skill)], resume))
    musts, nices = list(_unmet(job.musts, resume, material)), list(_unmet(job.nices, resume, material))
    if not job.musts:
        musts = [skill for skill in asked if not material.shows_term(skill)]
    gaps = [Gap(wish, required=True) for wish in dict.fromkeys(musts)]
    gaps += [Gap(wish, required=False) for wish in dict.fromkeys(nices) if wish not in musts]
    score, cap = _score(job, resume, asked, gaps, material)
    return Fit(sorted(fits, key=lambda proof: not proof.text), gaps, score, cap)


def skills_asked(job: Job, resume: dict[str, Any]) -> list[str]:
    """Return the skills that an advertisement names, in its order: known ones, and the person's own."""
    text = "\n".join([*job.musts, *job.duties, *job.nices, *job.skills, job.text])
    own = [skill for skill in own_skills(resume) if reading.found_in(text, (_as_looked_for(skill),))]
    named = {skill.casefold(): skill for skill in [*own, *job.skills]}
    return sorted(named.values(), key=lambda skill: text.casefold().find(skill.casefold()) % len(text))


def _as_looked_for(skill: str) -> str:
    """Return a skill as `found_in` takes it: only names of technologies must be written as they are."""
    return skill if skill in reading.TECHNICAL + reading.TOOLS else skill.lower()


def own_skills(resume: dict[str, Any]) -> list[str]:
    skills = resume.get("skills") or {}
    return [*skills.get("technical", []), *skills.get("tools", [])]


def asks_degree(wish: str) -> bool:
    return _DEGREE.search(wish) is not None


def achievements(resume: dict[str, Any]) -> list[Proof]:
    """Return what the person did, positions in order, within one those with a number first."""
    return [
        Proof("", text, str(entry.get("company", "")))
        for entry in resume.get("experience", [])
        for text in sorted(entry.get("highlights", []), key=lambda text: not _NUMBER.search(text))
    ]


def _proofs(skills: list[str], resume: dict[str, Any]) -> Iterator[Proof]:
    """Give each skill a sentence of its own as long as there are enough."""
    used: set[str] = set()
    done = achievements(resume)
    for skill in skills:
        showing = [a for a in done if reading.found_in(a.text, (skill,))]
        best = next((a for a in showing if a.text not in used), showing[0] if showing else Proof(skill))
        used.add(best.text)
        yield Proof(skill, best.text, best.company)


def _unmet(wishes: list[str], resume: dict[str, Any], material: Material) -> Iterator[str]:
    known = (resume.get("profile") or {}).get("yearsOfExperience")
    for wish in wishes:
        years = _YEARS.search(wish)
        if years and known is not None and known < _number(years.group(1)):
            yield wish
        elif asks_degree(wish):
            if not resume.get("education") and not _SOFTENED.search(wish):
                yield wish
        else:
            parts = reading.found_in(wish, reading.TECHNICAL + reading.TOOLS)
            if not parts and not (years and known is not None):
                parts = list(_parts(wish))
            yield from _missing(wish, parts, material)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else _NUMERALS.index(text)


def _missing(wish: str, parts: list[str], material: Material) -> list[str]:
    """Return the parts of a requirement that are not shown, or all of it in its own words."""
    missing = [part for part in parts if not material.shows_term(part)]
    if not missing or (len(missing) < len(parts) and _EITHER.search(wish)):
        return []
    return missing if len(missing) < len(parts) else [wish]


def _parts(wish: str) -> Iterator[str]:
    """Return what a requirement without a known name in it is about."""
    for part in re.split(r"[、，,;；或和与/]|\bor\b", _ZH_FILLERS.sub("", wish.rstrip(".。;；"))):
        if bare := re.sub(r"^(?:some|good|strong|a|an|in)\s|\s(?:at|level)\b.*$", "", part.strip()).strip():
            yield bare


def _score(
    job: Job, resume: dict[str, Any], asked: list[str], gaps: list[Gap], material: Material
) -> tuple[int, str]:
    musts = max(len(job.musts) or len(asked), 1)
    nices = max(len(job.nices), 1)
    open_musts = min(musts, sum(gap.required for gap in gaps))
    open_nices = min(nices, sum(not gap.required for gap in gaps))
    score = round(94 - 54 * open_musts / musts - 10 * open_nices / nices)
    degree = any(asks_degree(m) and not _SOFTENED.search(m) for m in job.musts)
    if degree and not resume.get("education"):
        return _capped(score, DEGREE_CAP, "degree")
    if asked and not material.shows_term(asked[0]) and any(gap.required for gap in gaps):
        return _capped(score, CORE_CAP, "core")
    return score, ""


def _capped(score: int, cap: int, reason: str) -> tuple[int, str]:
    return (cap, reason) if score > cap else (score, "below")


def relevance(proof: Proof, job: Job, resume: dict[str, Any]) -> float:
    """Return how much an achievement serves a job: shared skills and words, a number, how recent it is."""
    companies = [entry.get("company") for entry in resume.get("experience", [])]
    age = companies.index(proof.company) if proof.company in companies else 0
    skills = len(reading.found_in(proof.text, tuple(job.skills)))
    shared = len(_topics(proof.text) & _topics("\n".join([*job.duties, *job.musts])))
    return 2 * skills + shared + bool(_NUMBER.search(proof.text)) - 1.5 * age


def closest(duty: str, done: list[Proof]) -> Proof:
    """Return the achievement that shares most with a task; the first when none shares anything."""
    return max(done, key=lambda proof: len(_topics(proof.text) & _topics(duty)))


def _topics(text: str) -> set[str]:
    """Return the words of a text that mean something, and the pairs of its Chinese characters."""
    words = {word.removesuffix("s") for word in re.findall(r"[a-z][a-z-]{4,}", text.casefold())}
    pairs = {run[i : i + 2] for run in re.findall(r"[一-鿿]+", text) for i in range(len(run) - 1)}
    return words | pairs - {"负责", "经验", "以上", "熟悉"}
