"""Waves: many tasks under way in one lane, each stopped at a point of its own; then all lose their worker.

    start ─▶ all held ─▶ kill or freeze ─▶ late readers ─▶ another instance takes over ─▶ verdicts

One kill thus hits as many windows as there are tasks. A task whose point was missed is no proof of anything:
it goes into the next wave.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from devstack.frontend import JOB, Frontend, Reader, advertisement, until
from devstack.processes import FunctionProcess
from devstack.proxy import Fault, RedisProxy
from devstack.reliability.points import READ, SAID, Point
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.verdict import examine, stored_events
from devstack.stack import Stack

REASONER, VISION = "deepseek-reasoner", "glm-4.1v-thinking-flash"
FAST, SLOW = 2_000.0, 20.0
"""Tokens per second: while nothing is to be hit, and while a write is to be told from the next one."""
HELD_SECONDS = 4.5
"""A worker waits five seconds for a reply: whatever is to be hit must be held by then."""
VERDICTS_AT_ONCE = 4


@dataclass(slots=True)
class Struck:
    """One task, the points at which it is stopped (one a step), and who reads it."""

    points: tuple[Point, ...]
    accepted: dict[str, Any]
    faults: list[Fault | None]
    readers: list[Reader] = field(default_factory=list)

    @property
    def task_id(self) -> str:
        return str(self.accepted["taskId"])

    def is_held(self, step: int) -> bool:
        """Tell whether it stands at its point of this step."""
        fault = self.faults[step]
        return fault is not None and fault.hits > 0

    def read(self) -> None:
        """Open another reader, from the beginning."""
        self.readers.append(Reader(self.accepted["streamUrl"]))


class Wave:
    """The tasks of one user in one wave; `lane` is whose instance is lost first."""

    def __init__(self, stack: Stack, owner: Frontend, tally: Tally, *lanes: str) -> None:
        self.stack = stack
        self.owner = owner
        self.tasks: list[Struck] = []
        self.lost_at_ms: dict[int, float] = {}
        self._tally = tally
        stack.llm.requests.clear()
        for lane in lanes:
            stack.stand_by(lane)

    def start(self, several: Sequence[tuple[Point, ...]], kind: str = "text") -> None:
        """Start one task for each of `several`; none is delivered before all are armed and read."""
        body = {"jobText": JOB} if kind == "text" else {"jobImage": advertisement()}
        self.stack.qstash.faults.hold = True
        for points in several:
            accepted = self.owner.act("create-service", {**body, "locale": "en"})
            faults = [point.arm(proxy_of(self.stack), accepted["taskId"], kind) for point in points]
            task = Struck(points, accepted, faults)
            task.read()
            self.tasks.append(task)
        self.stack.qstash.faults.hold = False

    def wait_held(self, step: int = 0) -> None:
        """Wait until every task stands at its point of a step; who has missed it is found out afterwards."""
        due = [task for task in self.tasks if task.faults[step] is not None]
        with contextlib.suppress(AssertionError):
            until(
                lambda: True if all(task.is_held(step) for task in due) else None, "all points", HELD_SECONDS
            )

    def lose(self, lane: str, step: int = 0) -> None:
        """Kill the lane's instance, let readers come, and lead the lane's address to the next instance."""
        self.lost_at_ms[step] = time.time() * 1000
        self.stack.kill(lane)
        self._replace(lane)

    def freeze(self, lane: str) -> FunctionProcess:
        """Stop the lane's instance instead; returns it, to be woken later."""
        self.stack.freeze(lane)
        return self._replace(lane)

    def _replace(self, lane: str) -> FunctionProcess:
        for task in self.tasks:
            task.read()
        return self.stack.take_over(lane)

    def release(self) -> None:
        """Let all that is held go on its way."""
        for fault in chain.from_iterable(task.faults for task in self.tasks):
            if fault is not None:
                proxy_of(self.stack).release(fault)

    def stored(self, task: Struck) -> list[dict[str, Any]]:
        return stored_events(self.owner, task.accepted)

    def judge(self, *, resume_everywhere: bool = True) -> list[tuple[Point, ...]]:
        """Count every task and what is wrong with it; returns the points that were missed."""
        proxy_of(self.stack).heal()
        with ThreadPoolExecutor(VERDICTS_AT_ONCE) as pool:
            verdicts = list(
                pool.map(lambda task: self._examine(task, resume_everywhere=resume_everywhere), self.tasks)
            )
        for task, problems in zip(self.tasks, verdicts, strict=True):
            self._tally.ran(problems)
            self._tally.recovery_ms += self._recoveries(task)
        self._tally.problems += self._calls()
        return [task.points for task in self.tasks if not self._was_met(task)]

    def _examine(self, task: Struck, *, resume_everywhere: bool) -> list[Problem]:
        return examine(
            self.owner, task.accepted, said=SAID, readers=task.readers, resume_everywhere=resume_everywhere
        )

    def _was_met(self, task: Struck) -> bool:
        return all(point.was_met(self.stored(task)) for point in task.points)

    def _recoveries(self, task: Struck) -> Iterator[float]:
        """Yield how long it took from the loss of a worker to the next attempt of what it was at."""
        for event in self.stored(task):
            if event["type"] == "start" and event["attempt"] == 2 and event["step"] in self.lost_at_ms:
                yield event["at"] - self.lost_at_ms[event["step"]]

    def _calls(self) -> Iterator[Problem]:
        """Yield a problem if a model was called more often than attempts were made."""
        starts = sum(event["type"] == "start" for task in self.tasks for event in self.stored(task))
        if len(self.stack.llm.requests) > starts:
            yield Problem("doubled", f"{len(self.stack.llm.requests)} calls for {starts} attempts")


def proxy_of(stack: Stack) -> RedisProxy:
    assert stack.proxy is not None, "this section's stack is proxied"
    return stack.proxy


@contextlib.contextmanager
def scene(stack: Stack) -> Iterator[Frontend]:
    """A user with a summarised résumé and models whose words are known; all faults are gone afterwards."""
    stack.llm.pace.tokens_per_second = FAST
    owner = Frontend(stack, f"user-{uuid.uuid4()}").with_resume()
    stack.llm.fail("says", text=SAID, model=REASONER, times=None)
    stack.llm.fail("says", text=READ, model=VISION, times=None)
    stack.llm.pace.tokens_per_second = SLOW
    try:
        yield owner
    finally:
        stack.qstash.faults.clear()
        stack.llm.heal()
        proxy_of(stack).heal()
        stack.llm.pace.tokens_per_second = FAST
