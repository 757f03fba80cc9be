"""What was said in which call, for whoever must know it to the letter: off until it is asked for.

While it is on, every line of a streamed answer ends with its call's number. The stand-in gives the same
answer to the same request, so without the number a text put together from two attempts would look like one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from devstack.llm.requests import ChatRequest

_STREAMED_TASKS = frozenset({"job_match", "interview_prep"})
_STAMP = re.compile(r" ⟨(\d+)⟩$", re.MULTILINE)
_LABEL = re.compile(r"\bref-[a-z0-9]+\b")


@dataclass(slots=True)
class Call:
    """One call, from its request to its end. Times are of `time.monotonic`."""

    number: int
    api_key: str = field(repr=False)
    model: str
    task: str | None
    labels: frozenset[str]
    """Words like `ref-7k2` in the prompt, by which a caller knows its own material again."""
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    pieces: list[str] = field(default_factory=list, repr=False)
    finished: bool = False
    """Whether the answer went out to its end."""

    @classmethod
    def of(cls, number: int, api_key: str, chat: ChatRequest) -> Call:
        return cls(number, api_key, chat.model, chat.task, frozenset(_LABEL.findall(chat.prompt)))

    @property
    def said(self) -> str:
        return "".join(self.pieces)

    def note(self, deltas: Iterable[tuple[str, str]]) -> None:
        """Keep what goes out of the answer; thoughts are no part of it."""
        self.pieces += [text for name, text in deltas if name == "content"]

    def stamped(self, answer: str) -> str:
        """Return a streamed answer with the call's number on each line but the first, the score."""
        if self.task not in _STREAMED_TASKS:
            return answer
        first, *lines = answer.split("\n")
        return "\n".join([first, *(f"{line} ⟨{self.number}⟩" if line.strip() else line for line in lines)])


def stamps(text: str) -> set[int]:
    """Return the numbers of the calls that a text was put together from: one, unless something is wrong."""
    return {int(number) for number in _STAMP.findall(text)}


@dataclass(slots=True)
class Transcript:
    """The calls, in order. Written by the stand-in's loop alone."""

    on: bool = False
    calls: list[Call] = field(default_factory=list)

    def add(self, call: Call) -> None:
        if self.on:
            self.calls.append(call)
