"""The users that trials act as, each known to the model's stand-in by words of its own.

A fault that is `about` those words spoils this user's calls alone, so that many trials can run side by side.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

from devstack.frontend import JOB, RESUME, Frontend, Reader
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.verdict import examine
from devstack.stack import Stack

STREAMED_MODEL, STRUCTURED_MODEL = "deepseek-reasoner", "deepseek-chat"
"""Who writes a paid match, and who summarises a paid user's résumé."""
NAME = "Mei Lin"
"""Whose résumé it is: what a summary of it must say."""
SIDE_BY_SIDE = 16


@dataclass(frozen=True, slots=True)
class Started:
    """A task under way, and the browser that reads it."""

    owner: Subject
    accepted: dict[str, Any]
    reader: Reader
    streams: bool

    @property
    def attempts(self) -> list[int]:
        return [event["attempt"] for event in self.reader.all if event["type"] == "start"]

    @property
    def retrying(self) -> list[dict[str, Any]]:
        return [event for event in self.reader.all if event["type"] == "retrying"]

    def examine(self, said: str | None = None, ends: str = "done", **expected: Any) -> list[Problem]:
        """Wait for the end and return what is wrong with it: `verdict.examine`, and a summary's content."""
        self.reader.wait()
        problems = examine(self.owner, self.accepted, said=said, ends=ends, readers=[self.reader], **expected)
        if ends == "done" and not self.streams:
            result = self.owner.status(self.accepted).get("result") or {}
            if (result.get("header") or {}).get("name") != NAME:
                problems.append(Problem("lost", f"{self.owner.user}: the summary is {result}"))
        return problems


class Subject(Frontend):
    """A new user whose material holds words that nobody else's does."""

    def __init__(self, stack: Stack, name: str) -> None:
        super().__init__(stack, f"{name}-{uuid.uuid4().hex[:12]}")

    @property
    def text(self) -> str:
        """A match of this user's: long enough for one, and unlike anybody else's."""
        said = f"The match of {self.user} is a good one, as every line of the material shows. "
        return f"score: 72\n\n## Overall\n\n{said * 4}"

    @property
    def summary(self) -> str:
        """What the model says of this user's résumé: short, so that nobody waits for it."""
        return self._summary_of(f"Eight years in payments, {self.user}.")

    @property
    def long_summary(self) -> str:
        """One that takes the model longer to say than a lease is left without a renewal."""
        years = (f"In {year} she led team {year % 7} of the payments group." for year in range(2001, 2026))
        return self._summary_of(" ".join(years))

    def _summary_of(self, text: str) -> str:
        return json.dumps({"header": {"name": NAME}, "summary": text})

    @property
    def resume(self) -> dict[str, str]:
        """What this user uploads."""
        return {"text": f"{RESUME}\nFor {self.user}.", "locale": "en"}

    def speaks(self, *, streams: bool) -> None:
        """Let the model say `text` or `summary` from now on; faults armed before come first."""
        said = self.text if streams else self.summary
        self.fails("says", streams=streams, times=None, text=said)

    def fails(self, kind: str, *, streams: bool, times: int | None = 1, **facts: Any) -> None:
        """Let the model fail this user's next calls."""
        model = STREAMED_MODEL if streams else STRUCTURED_MODEL
        self.stack.llm.fail(kind, model=model, about=self.user, times=times, **facts)

    def prepared(self) -> Self:
        """Have a summarised résumé, as a match needs one."""
        status = self.outcome(self.start(streams=False).accepted)
        assert status["state"] == "done", status
        return self

    def start(self, *, streams: bool) -> Started:
        """Start a match, or upload a résumé."""
        self.speaks(streams=streams)
        if streams:
            accepted = self.act("create-service", {"jobText": f"{JOB}\nFor {self.user}.", "locale": "en"})
        else:
            accepted = self.act("upload-resume", self.resume)
        return Started(self, accepted, Reader(accepted["streamUrl"]), streams)


def all_at_once(tally: Tally, runs: Iterable[Callable[[], list[Problem]]]) -> None:
    """Run all side by side and count each; one that raises has lost something."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for problems in pool.map(_guarded, runs):
            tally.ran(problems)


def _guarded(run: Callable[[], list[Problem]]) -> list[Problem]:
    try:
        return run()
    except AssertionError as error:
        return [Problem("lost", str(error))]
