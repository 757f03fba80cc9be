"""Waves: many tasks under way in one lane, each stopped at a point of its own; then all lose their worker.

    start ─▶ all held ─▶ kill or freeze ─▶ late readers ─▶ another instance takes over ─▶ verdicts

One loss thus hits as many windows as there are tasks. A task whose point was missed is no proof of anything:
it goes into the next wave.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from devstack.frontend import JOB, Reader, advertisement, until
from devstack.processes import FunctionProcess
from devstack.proxy import Fault
from devstack.reliability.points import FIRST, SECOND, Point, Points
from devstack.reliability.scenes import REASONER, VISION, Scene, speak
from devstack.reliability.tally import Problem
from devstack.reliability.verdict import examine
from shared.state import keys

HELD_SECONDS = 4.5
"""A worker waits five seconds for a reply: this long after the first of a wave all must be held."""
VERDICTS_AT_ONCE = 4
RESUMED_EACH = 4
"""In short, every so manieth task is read again from each of its events."""


@dataclass(slots=True)
class Struck:
    """One task, its points, and who reads it."""

    points: Points
    accepted: dict[str, Any]
    faults: list[Fault | None]
    ref: str
    """A word of its own in what the model is told."""
    said: str
    """The words of the call that must have counted."""
    readers: list[Reader] = field(default_factory=list)

    @property
    def task_id(self) -> str:
        return str(self.accepted["taskId"])

    def is_held(self, step: int = 0) -> bool:
        """Tell whether it stands at its point of this step; one without a point must be talking."""
        fault = self.faults[step]
        if fault is None:
            return step > 0 or len(self.faults) > 1 or "token_batch" in self.readers[0].types
        return fault.hits > 0

    def read(self) -> None:
        """Open another reader, from the beginning."""
        self.readers.append(Reader(self.accepted["streamUrl"]))


class Wave:
    """The tasks of one wave; another instance of each of `functions` stands by."""

    def __init__(self, scene: Scene, *functions: str) -> None:
        stack = scene.stack
        self.scene = scene
        self.stack = stack
        self.owner = scene.owner
        self.proxy = scene.proxy
        stack.llm.heal()
        self.tasks: list[Struck] = []
        self._lost_at_ms: dict[int, float] = {}
        stack.llm.requests.clear()
        for name in functions:
            stack.stand_by(name)

    def start(self, several: Sequence[Points], *, kind: str = "text", endless: bool = False) -> None:
        """Start one task for each of `several`; none is delivered before all are armed and read.

        Args:
            several: where each is stopped.
            kind: of its advertisement, `text` or `image`.
            endless: whether the first call for a task never ends, unless it must.
        """
        body = {"jobText": JOB} if kind == "text" else {"jobImage": advertisement()}
        self.stack.qstash.faults.hold = True
        for points in several:
            self.tasks.append(self._start_one(points, body, kind, endless=endless))
        speak(self.stack)
        self.stack.qstash.faults.hold = False

    def speak(self) -> None:
        """Let every call from now on be a proper one, also the first for a task."""
        self.stack.llm.heal()
        for task in self.tasks:
            if task.said == FIRST:
                self.stack.llm.fail("says", text=FIRST, model=REASONER, about=task.ref)
        speak(self.stack)

    def start_pictures(self, several: Sequence[Points]) -> None:
        """Start tasks with a picture; those without a point at the first step come to its model first.

        Pictures tell no task from another: a model that falls silent is for those who come first.
        """
        at_work = [points for points in several if not points[0].on]
        self.stack.qstash.faults.hold_to = "/paid/stream/"
        for _ in at_work:
            self.stack.llm.fail("silence", model=VISION)
        self.start(at_work, kind="image")
        until(lambda: self._running(VISION) == len(at_work) or None, "the models at work")
        self.start([points for points in several if points[0].on], kind="image")

    def _running(self, model: str) -> int:
        running: dict[str, int] = self.stack.llm.state["running"]
        return running.get(model, 0)

    def _start_one(self, points: Points, body: dict[str, str], kind: str, *, endless: bool) -> Struck:
        ref = f"ref-{uuid.uuid4().hex[:12]}"
        said = FIRST if kind == "text" and points[0].keeps_first_call else SECOND
        if kind == "text":
            body = {"jobText": f"{body['jobText']}\n{ref}"}
            self._first_call(points[0], ref, endless=endless)
        accepted = self.owner.act("create-service", {**body, "locale": "en"})
        faults = [point.arm(self.proxy, accepted["taskId"], kind) for point in points]
        task = Struck(points, accepted, faults, ref, said)
        task.read()
        return task

    def _first_call(self, point: Point, ref: str, *, endless: bool) -> None:
        kind = "loop" if endless and point.on in {"XADD", ""} else "says"
        self.stack.llm.fail(point.provider_fault or kind, text=FIRST, model=REASONER, about=ref)

    def wait_held(self, step: int = 0) -> None:
        """Wait until every task stands at its point of a step; who has missed it is found out afterwards."""
        faults = [task.faults[step] for task in self.tasks]
        until(lambda: any(fault and fault.hits for fault in faults) or None, "the first point")
        with contextlib.suppress(AssertionError):
            until(lambda: all(task.is_held(step) for task in self.tasks) or None, "all points", HELD_SECONDS)

    def begin_second_step(self) -> None:
        """Deliver the second step of all tasks, once all are there: they reach their points together."""
        for task in self.tasks:
            task.readers[0].wait_for("step_result")
        self.stack.qstash.faults.hold_to = ""

    def kill(self, lane: str, step: int = 0) -> None:
        """Kill the lane's instance, let readers come, and lead the lane's address to the next instance."""
        self._lost_at_ms[step] = time.time() * 1000
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
                self.proxy.release(fault)

    def entries(self, task: Struck) -> list[tuple[str, dict[str, Any]]]:
        """Return a task's events as Redis has them, with their ids."""
        key = keys.events(self.owner.user, task.accepted["serviceId"], task.task_id)
        with contextlib.closing(self.stack.open_store()) as store:
            return [(id_, json.loads(fields[1])) for id_, fields in store.command("XRANGE", key, "-", "+")]

    def events(self, task: Struck) -> list[dict[str, Any]]:
        return [event for _, event in self.entries(task)]

    def judge(self) -> list[Points]:
        """Count every task and what is wrong with it; returns the points that were missed."""
        self.proxy.heal()
        with ThreadPoolExecutor(VERDICTS_AT_ONCE) as pool:
            verdicts = list(pool.map(self._examine, range(len(self.tasks))))
        missed, tally = [], self.scene.tally
        for task, problems in zip(self.tasks, verdicts, strict=True):
            events = self.events(task)
            tally.recovery_ms += self._recoveries(events)
            if all(point.was_met(events) for point in task.points):
                tally.faults += len(task.points)
                tally.ran(problems)
            else:  # which of the calls counts is not known then
                missed.append(task.points)
        tally.problems += self._calls()
        return missed

    def _examine(self, number: int) -> list[Problem]:
        task = self.tasks[number]
        self.owner.outcome(task.accepted)
        task.read()  # after the end, from the beginning
        ends = task.points[-1].ends
        return examine(
            self.owner,
            task.accepted,
            ends=ends,
            said=task.said if ends == "done" else None,
            readers=task.readers,
            resume_everywhere=self.scene.effort.thorough or number % RESUMED_EACH == 0,
        )

    def _recoveries(self, events: Sequence[dict[str, Any]]) -> Iterator[float]:
        """Yield how long it took from the loss of a worker to the next attempt of what it was at."""
        for event in events:
            if event["type"] == "start" and event["attempt"] == 2 and event["step"] in self._lost_at_ms:
                yield event["at"] - self._lost_at_ms[event["step"]]

    def _calls(self) -> Iterator[Problem]:
        """Yield a problem if the models were called more often than attempts were made."""
        starts = sum(event["type"] == "start" for task in self.tasks for event in self.events(task))
        if len(self.stack.llm.requests) > starts:
            yield Problem("doubled", f"{len(self.stack.llm.requests)} calls for {starts} attempts")
