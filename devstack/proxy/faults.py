"""The faults of the proxy: which command each is for, and what then happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from devstack.proxy.resp import Command

Kind = Literal["cut", "keep_back", "hold", "delay", "answer"]
When = Literal["before", "after"]


@dataclass(slots=True)
class Fault:
    """What happens to some commands, counted from when it is armed.

    `cut` ends the connection, `keep_back` does too and lets it arrive late, `hold` says nothing until the
    client goes away or `released` is set, `delay` waits, `answer` answers an error in the server's place.
    `before`: the server never sees the command; `after`: it has run it, and the reply is what gets lost.
    """

    kind: Kind
    on: str = ""
    """A command's name, a script's, or nothing for any."""
    when: When = "before"
    nth: int = 1
    times: int | None = 1
    """How many commands from the n-th on; None for all."""
    about: str = ""
    """Words that a command must all carry, such as a task's id."""
    seconds: float = 0.0
    error: str = ""
    seen: int = field(default=0, init=False)
    released: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)

    @property
    def hits(self) -> int:
        """How many commands it has happened to."""
        return max(0, min(self.seen - self.nth + 1, self.seen if self.times is None else self.times))

    def meets(self, command: Command) -> bool:
        """Count a command, and tell whether the fault happens to it."""
        if not command.is_called(self.on) or not all(
            word in command.frame for word in self.about.encode().split()
        ):
            return False
        before = self.hits
        self.seen += 1
        return self.hits > before


@dataclass(slots=True)
class Book:
    """The faults that are armed, in order, and what has gone through. Only the proxy's loop writes in it."""

    armed: list[Fault] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    late: list[Command] = field(default_factory=list)

    def next_fault(self, command: Command, when: When) -> Fault | None:
        """Return what happens to a command; every armed fault counts it, the first that meets it happens."""
        met = [fault for fault in self.armed if fault.when == when and fault.meets(command)]
        return met[0] if met else None

    def note(self, command: Command) -> None:
        """Count a command that reaches the server."""
        self.passed[command.name] += 1
        if command.script:
            self.passed[command.script] += 1
