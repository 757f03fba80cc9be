"""The stand-in's match: how a person fits a job, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devstack.llm.advising import Advice
from devstack.llm.assessing import Gap, Proof, closest

_SHORT = {"zh": 38, "en": 22}
"""Characters or words of an achievement that a short message has room for."""


class Match(Advice):
    """The text of `job_match`."""

    def text(self) -> str:
        return self.filled("job_match", self.facts() | self._match_facts())

    def _match_facts(self) -> dict[str, Any]:
        say, gaps = self.wording.say, [gap.wish for gap in self.fit.gaps]
        level = "high" if self.fit.score >= 85 else "middle" if self.fit.score >= 60 else "low"
        core = next((gap.wish for gap in self.fit.gaps if gap.required), "")
        return {
            "assessment": say(f"assessment_{level}", title=self.title, company=self.company),
            "cap": say(f"cap_{self.fit.cap or 'none'}", core=core),
            "missing": say("missing", gaps=self.wording.listing(gaps[:4])) if gaps else say("missing_none"),
            "strengths": "\n".join([*self._strengths()][:5]),
            "weaknesses": "\n".join([*self._weaknesses()][:4]),
            "spoken_short": self._short(),
            "second_step": self.of_gap("second_gap", self.fit.gaps[0]) if gaps else say("second_sharp"),
        }

    def _short(self) -> str:
        size = _SHORT[self.locale]
        fitting = self.wording.clipped(self.done[0].text.rstrip(".。"), size)
        return self.wording.sentence(fitting) if self.wording.zh else self.wording.spoken(fitting)

    def _strengths(self) -> Iterator[str]:
        shown = self.shown[:3]
        for proof in shown:
            yield self.wording.say("fit_shown", skill=proof.skill, place=proof.company, text=proof.text)
        yield from self._likenesses(3 - len(shown), {proof.text for proof in shown})
        for proof in self.listed[: max(0, 2 - len(shown))]:
            yield self.wording.say("fit_listed", skill=proof.skill)

    def _likenesses(self, wanted: int, told: set[str]) -> Iterator[str]:
        """Yield tasks of the job with something like them that was done before, at least one."""
        duties = [duty.rstrip(".。;；") for duty in self.job.duties] or [self.duty]
        for duty in duties[: max(1, wanted)]:
            free = [proof for proof in self.done if proof.text not in told] or self.done
            other = closest(duty, free)
            told.add(other.text)
            facts = {"duty": duty, "role": self.role_at(other), "employer": other.company, "text": other.text}
            yield self.wording.say("fit_recent", **facts)

    def _weaknesses(self) -> Iterator[str]:
        say, found = self.wording.say, 0
        for found, gap in enumerate(self.fit.gaps[:3], 1):
            yield self._weakness(gap, self.done[(found - 1) % len(self.done)])
        for proof in self.listed[:1]:
            found += 1
            yield "\n".join([say("thin", skill=proof.skill), say("thin_interview"), say("thin_resume")])
        if found < 2:  # a match names at least two
            yield self._oldest()

    def _weakness(self, gap: Gap, near: Proof) -> str:
        say = self.wording.say
        kind = "gap" if gap.is_skill and near.skill else "gap_other"
        head = say(f"{kind}_required" if gap.required else f"{kind}_wished", gap=gap.wish)
        interview = say(f"{kind}_interview", skill=near.skill, place=near.company, role=self.role_at(near))
        return "\n".join([head, interview, say("gap_resume", near=near.text)])

    def _oldest(self) -> str:
        say, old = self.wording.say, self.positions[-1]
        head = say("old", role=old.get("role", ""), place=old.get("company", ""))
        line = next(iter(old.get("highlights", [])), self.done[-1].text)
        return "\n".join([head, say("old_interview", employer=self.employer), say("old_resume", text=line)])
