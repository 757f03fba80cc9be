"""What the stand-in's advice is made of: one person, one job, what fits, what is missing, what was done."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from devstack.llm.assessing import Fit, Gap, Proof, achievements, assess, own_skills, relevance
from devstack.llm.reading import Job
from devstack.llm.wording import Wording


@dataclass(frozen=True)
class Advice:
    """One person, one job, one language."""

    resume: dict[str, Any]
    detailed: dict[str, Any] | None
    job: Job
    locale: str

    @cached_property
    def wording(self) -> Wording:
        return Wording(self.locale)

    @cached_property
    def fit(self) -> Fit:
        return assess(self.resume, self.detailed, self.job)

    @cached_property
    def done(self) -> list[Proof]:
        """What the person did, each once, what serves the job first; never empty."""
        known = [*self.shown, *achievements(self.resume)]
        once = {proof.text: proof for proof in reversed(known)}
        ordered = sorted(
            dict.fromkeys(proof.text for proof in known), key=lambda text: self._rank(once[text])
        )
        return [once[text] for text in ordered] or [Proof("", self._studied(), self.employer)]

    @property
    def _degree(self) -> str:
        degrees = [entry.get("degree") for entry in self.resume.get("education") or ()]
        return next(filter(None, degrees), self.wording.say("nothing"))

    def _studied(self) -> str:
        if not self.resume.get("education"):
            return self.wording.say("nothing")
        return self.wording.say("studied", degree=self._degree, school=self.employer)

    @cached_property
    def shown(self) -> list[Proof]:
        """The skills that fit, those together that one sentence shows."""
        texts = dict.fromkeys(proof.text for proof in self.fit.fits if proof.text)
        groups = [self._group([proof for proof in self.fit.fits if proof.text == text]) for text in texts]
        return sorted(groups, key=self._rank)

    def _rank(self, proof: Proof) -> float:
        return -relevance(proof, self.job, self.resume)

    def _group(self, proofs: list[Proof]) -> Proof:
        skills = self.wording.listing([proof.skill for proof in proofs][:3])
        return Proof(skills, proofs[0].text, proofs[0].company)

    @property
    def listed(self) -> list[Proof]:
        return [proof for proof in self.fit.fits if not proof.text]

    @property
    def positions(self) -> list[dict[str, Any]]:
        return self.resume.get("experience") or [{}]

    @property
    def role(self) -> str:
        studied = "graduate" if self.resume.get("education") else "nothing"
        return self.positions[0].get("role") or self.wording.say(studied)

    @property
    def employer(self) -> str:
        schools = [entry.get("school") for entry in self.resume.get("education") or ()]
        return self.positions[0].get("company") or next(filter(None, schools), self.wording.say("nothing"))

    @property
    def duty(self) -> str:
        duties = self.job.duties or self.job.musts or [self.title]
        return duties[0].rstrip(".。;；")

    @property
    def title(self) -> str:
        return self.job.title or self.wording.say("title")

    @property
    def company(self) -> str:
        return self.job.company or self.wording.say("company")

    def filled(self, task: str, facts: dict[str, Any]) -> str:
        return self.wording.typeset(_text(task, self.locale).format_map(facts))

    def facts(self) -> dict[str, Any]:
        names = [proof.skill for proof in self.fit.fits] or own_skills(self.resume) or [self._degree]
        return {
            "score": self.fit.score,
            "title": self.title,
            "company": self.company,
            "role": self.role,
            "employer": self.employer,
            "duty": self.duty,
            "fits": self.wording.listing(names[:6]),
            "fits_short": self.wording.listing(names[:3]),
        }

    def role_at(self, proof: Proof) -> str:
        roles = [e.get("role") for e in self.positions if e.get("company") == proof.company]
        return roles[0] if roles and roles[0] else self.role

    def of_gap(self, name: str, gap: Gap, **facts: str) -> str:
        return self.wording.say(name if gap.is_skill else f"{name}_other", gap=gap.wish, **facts)


@cache
def _text(task: str, locale: str) -> str:
    return files("devstack.llm").joinpath("texts", f"{task}.{locale}.md").read_text("utf-8")
