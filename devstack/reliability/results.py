"""What the trials came to, as docs/reliability.json keeps it; the page and the picture are drawn from it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from devstack.reliability.tally import Tally
from devstack.reliability.trials import Section

_NUMBERS = re.compile(r"\[\s*(-?[\d.]+(?:,\s*-?[\d.]+)*)\s*\]")
_DEFAULT_LEASE_SECONDS = 30.0
PROBLEMS_KEPT = 20
"""The problems of one trial that are told; what is beyond them is counted."""
_PROBLEM_LENGTH = 400
_TOKEN = re.compile(r"\?token=[\w.-]+")


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Times(_Stored):
    """Measured durations. A quantile is one of them: the smallest that so many are not above."""

    p50_ms: float
    p99_ms: float
    samples_ms: tuple[float, ...]
    """All of them, in ascending order."""

    @classmethod
    def of(cls, samples_ms: Iterable[float]) -> Self | None:
        """Return None when nothing was measured."""
        ordered = tuple(sorted(round(sample, 1) for sample in samples_ms))
        if not ordered:
            return None
        return cls(p50_ms=_quantile(ordered, 0.5), p99_ms=_quantile(ordered, 0.99), samples_ms=ordered)


class TrialResult(_Stored):
    """One row of the table."""

    title: str
    runs: int
    faults: int
    lost: int
    doubled: int
    wrong: int
    problems: tuple[str, ...] = ()
    """Why it did not hold; also when the trial itself broke off."""
    notes: tuple[str, ...] = ()
    recovery: Times | None = None
    cancel: Times | None = None
    seconds: float

    @property
    def held(self) -> bool:
        return self.runs > 0 and not self.problems

    def with_problem(self, text: str) -> Self:
        return self.model_copy(update={"problems": (_brief(text), *self.problems)})

    @classmethod
    def of(cls, title: str, tally: Tally, *, seconds: float, broke_off: str | None = None) -> Self:
        """Put a row together.

        Args:
            title: the trial's.
            tally: what it counted.
            seconds: how long it took.
            broke_off: why it did not come to its end.
        """
        problems = [_brief(f"{problem.kind}: {problem.text}") for problem in tally.problems[:PROBLEMS_KEPT]]
        if left_out := len(tally.problems) - len(problems):
            problems.append(f"and {left_out} more")
        if broke_off is not None:
            problems.insert(0, _brief(f"broke off: {broke_off}"))
        elif not tally.runs:
            problems.append("nothing ran")
        return cls(
            title=title,
            runs=tally.runs,
            faults=tally.faults or tally.runs,
            lost=tally.count("lost"),
            doubled=tally.count("doubled"),
            wrong=tally.count("wrong"),
            problems=tuple(problems),
            notes=tuple(tally.notes),
            recovery=Times.of(tally.recovery_ms),
            cancel=Times.of(tally.cancel_ms),
            seconds=round(seconds, 1),
        )


class SectionResult(_Stored):
    """The rows that shared a stack, and how that stack was set."""

    name: str
    promise: str
    lease_seconds: float
    settings: Mapping[str, str]
    """The variables of the functions that were not at their defaults."""
    stand_ins: Mapping[str, str]
    """How the stand-ins were set, where not as usual."""
    trials: tuple[TrialResult, ...]

    @classmethod
    def of(cls, section: Section, trials: Sequence[TrialResult]) -> Self:
        settings = {name: str(value) for name, value in section.stack.get("overrides", {}).items()}
        stand_ins = {
            name: _said(value)
            for name, value in section.stack.items()
            if name not in {"overrides", "build_folder", "provider_environment"}
        }
        return cls(
            name=section.name,
            promise=section.promise,
            lease_seconds=float(settings.get("LEASE_SECONDS", _DEFAULT_LEASE_SECONDS)),
            settings=settings,
            stand_ins=stand_ins,
            trials=tuple(trials),
        )


class Conditions(_Stored):
    """Where and how the figures were measured; nothing that names the machine."""

    date: str
    commit: str
    python: str
    valkey: str
    system: str
    cores: int
    rounds: int
    thorough: bool
    seconds: float = 0.0


class Results(_Stored):
    """Everything that one run of `make reliability` came to."""

    conditions: Conditions
    sections: tuple[SectionResult, ...]

    @property
    def trials(self) -> tuple[TrialResult, ...]:
        return tuple(trial for section in self.sections for trial in section.trials)

    @property
    def held(self) -> bool:
        return bool(self.trials) and all(trial.held for trial in self.trials)

    def to_json(self) -> str:
        """Return the file's text; a list of numbers takes one line."""
        text = json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
        return _NUMBERS.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.model_validate_json(text)


def _brief(text: str) -> str:
    """Return a problem in one line of bounded length; of a long one, how it begins and how it ends."""
    line = _TOKEN.sub("?token=…", " ".join(text.split()))
    half = _PROBLEM_LENGTH // 2
    return line if len(line) <= _PROBLEM_LENGTH else f"{line[:half]} … {line[-half:]}"


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple | list) else str(value)
