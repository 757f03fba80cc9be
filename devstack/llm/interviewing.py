"""The stand-in's interview preparation, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devstack.llm.advising import Advice
from devstack.llm.assessing import Proof, asks_degree, closest
from devstack.llm.reading import found_in


class Interview(Advice):
    """The text of `interview_prep`."""

    def text(self) -> str:
        return self.filled("interview_prep", self.facts() | self._interview_facts())

    def _interview_facts(self) -> dict[str, Any]:
        say, job = self.wording.say, self.job
        persona = (self.resume.get("profile") or {}).get("persona", "").rstrip(".。") or self.role
        first, second = self.done[0], self.done[min(1, len(self.done) - 1)]
        return {
            "name": (self.resume.get("header") or {}).get("name") or say("name"),
            "introduction": say("introduction", persona=_with_article(persona, self.locale)),
            "spoken1": self._spoken(first),
            "spoken2": self._spoken(second),
            "before": self._before({first.company, second.company}),
            "salary": say("salary", salary=job.salary) if job.salary else "",
            "location": say("location", location=job.location) if job.location else "",
            "challenges": "\n".join(self._challenges()),
            "questions": "\n".join(f"{n}. {text}" for n, text in enumerate(self._questions(), 1)),
            "stories": "\n".join([*self._stories()][:3]) or say("story_none"),
            "answers": "\n".join([*self._answers()][:3]),
            "topics": "\n".join([*self._topics()][:6]) or say("topic_any", title=self.title),
        }

    def _spoken(self, proof: Proof) -> str:
        spoken = self.wording.spoken(proof.text)
        if proof.company in {"", self.employer}:
            return spoken
        return self.wording.say("elsewhere", place=proof.company, text=spoken)

    def _before(self, told: set[str]) -> str:
        """Return a sentence on the position before, unless an achievement from there was told."""
        before = self.positions[1] if len(self.positions) > 1 else {}
        lines, place = before.get("highlights") or [], before.get("company", "")
        if not lines or place in told:
            return ""
        text = self.wording.spoken(lines[0])
        return self.wording.say("before", role=before.get("role", ""), place=place, text=text)

    def _challenges(self) -> Iterator[str]:
        for index, duty in enumerate(self.job.duties[:2] or [self.duty]):
            proof = closest(duty, self.done)
            why = self._why(proof) if index else self.wording.say("why_first")
            yield self.wording.say(
                "challenge", duty=duty.rstrip(".。;；"), why=why, place=proof.company, text=proof.text
            )

    def _why(self, proof: Proof) -> str:
        """Return the requirement that an achievement answers, as the reason of a task."""
        skills = tuple(fit.skill for fit in self.fit.fits if fit.text == proof.text)
        must = next((must for must in self.job.musts if found_in(must, skills)), "")
        if must:
            return self.wording.say("why_must", must=must.rstrip(".。;；"))
        return self.wording.say("why_other")

    def _questions(self) -> Iterator[str]:
        say, done = self.wording.say, self.done
        nearest = closest(self.duty, done)
        yield say("question_duty", duty=self.duty, spoken=self.wording.spoken(nearest.text))
        for proof in self.shown[1:2]:
            yield say("question_skill", skill=proof.skill, place=proof.company, text=proof.text)
        yield say("question_number", text=done[min(2, len(done) - 1)].text.rstrip(".。"))
        if self.fit.gaps:
            near = next((proof.skill for proof in self.shown), self.role)
            yield self.of_gap("question_gap", self.fit.gaps[0], near_skill=near)
        if must := next((must for must in self.job.musts if not asks_degree(must)), ""):
            text = done[min(1, len(done) - 1)].text
            yield say("question_must", must=must.rstrip(".。;；"), text=text)
        yield say("question_failure", employer=self.employer)
        yield say("question_why", company=self.company, duty=self.duty, role=self.role)

    def _stories(self) -> Iterator[str]:
        for entry in (self.detailed or {}).get("experiences", []):
            for project in entry.get("projects", [])[:2]:
                yield self._story(
                    project.get("name", ""), entry, project["task"], project["actions"], project["results"]
                )
        for entry in self.positions[:2]:
            text = next(iter(entry.get("highlights", [])), "")
            if text:
                name = self.wording.say("own_story", role=entry.get("role", ""))
                action, result = self.wording.parted(text)
                yield self._story(name, entry, [], [action], [result] if result else [])

    def _story(
        self, name: str, entry: dict[str, Any], task: list[str], actions: list[str], results: list[str]
    ) -> str:
        say, place, role = self.wording.say, entry.get("company", ""), entry.get("role", "")
        return say(
            "star",
            name=name,
            place=place,
            situation=say("situation", role=role, place=place),
            task=self.wording.sentence("; ".join(task) or say("task_unknown")),
            action=self.wording.sentence(("；" if self.wording.zh else "; ").join(actions)),
            result=self.wording.sentence("; ".join(results) or say("result_unknown")),
        )

    def _answers(self) -> Iterator[str]:
        shown = self.shown or self.done
        for index, gap in enumerate(self.fit.gaps):
            proof = shown[index % len(shown)]
            yield self.of_gap("weak_answer", gap, skill=proof.skill or self.role, place=proof.company)
        for proof in self.listed:
            yield self.wording.say("weak_thin", skill=proof.skill, centre=shown[0].skill or self.role)
        if not self.fit.gaps and not self.listed:
            yield self.wording.say("weak_none", employer=self.employer)

    def _topics(self) -> Iterator[str]:
        for gap in self.fit.gaps[:3]:
            yield self.of_gap("topic_gap", gap)
        for proof in [*self.listed, *self.shown][:3]:
            name = "topic_fit" if proof.text else "topic_listed"
            yield self.wording.say(name, skill=proof.skill, place=proof.company)


def _with_article(persona: str, locale: str) -> str:
    if locale == "zh" or persona.lower().startswith(("a ", "an ")):
        return persona
    return f"{'an' if persona[:1].lower() in 'aeio' else 'a'} {persona}"
