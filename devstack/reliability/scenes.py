"""Where waves of tasks take place: the user whose tasks they are, and models whose words are known."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from devstack.frontend import Frontend, advertisement
from devstack.proxy import RedisProxy
from devstack.reliability.points import READ, SECOND, Points
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort
from devstack.reliability.verdict import at_rest
from devstack.stack import Stack

SLOTS = 30
REASONER, VISION = "deepseek-reasoner", "glm-4.1v-thinking-flash"
FAST, SLOW = 2_000.0, 20.0
"""Tokens per second: while nothing is to be hit, and while a write is to be told from the next one."""
WAVES = 3
"""How often a point that was missed is tried: a machine that stalls for seconds makes one miss."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where waves take place, whose tasks they are, and who counts."""

    stack: Stack
    owner: Frontend
    tally: Tally
    effort: Effort

    @property
    def proxy(self) -> RedisProxy:
        assert self.stack.proxy is not None, "this section's stack is proxied"
        return self.stack.proxy

    @property
    def rounds(self) -> int:
        """How often to do it all: half as often as a lighter trial, since a wave is many runs or kills."""
        return (self.effort.rounds + 1) // 2

    def until_met(
        self, points: Sequence[Points], wave: Callable[[Scene, Sequence[Points]], list[Points]]
    ) -> None:
        """Send waves until every point has been met by one, in each round."""
        for _ in range(self.rounds):
            missed = list(points)
            for _ in range(WAVES):
                if missed:
                    missed = wave(self, missed)
            self.tally.problems += [Problem("wrong", f"never met: {', '.join(map(str, m))}") for m in missed]


def speak(stack: Stack) -> None:
    """Give the models their words, for every call that suffers nothing else."""
    stack.llm.fail("says", text=READ, model=VISION, times=None)
    stack.llm.fail("says", text=SECOND, model=REASONER, times=None)


@contextlib.contextmanager
def scene(stack: Stack, tally: Tally, effort: Effort) -> Iterator[Scene]:
    """A user with a résumé, and models that talk slowly; in the end all faults are gone and all is at rest.

    A first task shows both lanes the way: an instance that calls its model for the first time takes seconds.
    """
    stack.llm.pace.tokens_per_second = FAST
    owner = Frontend(stack, f"user-{uuid.uuid4()}").with_resume()
    speak(stack)
    owner.outcome(owner.act("create-service", {"jobImage": advertisement(), "locale": "en"}))
    stack.llm.pace.tokens_per_second = SLOW
    here = Scene(stack, owner, tally, effort)
    try:
        yield here
    finally:
        stack.qstash.faults.clear()
        stack.llm.heal()
        here.proxy.heal()
        stack.llm.pace.tokens_per_second = FAST
    tally.problems += at_rest(stack)
