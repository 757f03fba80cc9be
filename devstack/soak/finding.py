"""What an invariant comes to: held, or broken by these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that broke an invariant, and where to look for it."""

    text: str
    task_id: str | None = None
    user: str | None = None

    def __str__(self) -> str:
        return f"{self.task_id or self.user}: {self.text}" if self.task_id or self.user else self.text


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant, on how much it was checked, and what broke it."""

    claim: str
    checked: str
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, claim: str, checked: str, problems: Iterable[Problem]) -> Finding:
        return cls(claim, checked, tuple(problems))

    @property
    def held(self) -> bool:
        return not self.problems
