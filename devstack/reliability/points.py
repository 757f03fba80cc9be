"""Where a task can be stopped: at each of its writes, before Redis sees it or before its reply is seen.

A point belongs to one step of a task. It is armed as a hold of the proxy, and judged afterwards by what the
first attempt of that step has left in the stream: a fault that was never met proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devstack.llm.pieces import split_pieces
from devstack.proxy import Fault, RedisProxy
from devstack.proxy.faults import When

FIRST = "score: 82\n\n## 匹配🎯 Redis Kafka Spark Scala Linux Nginx Azure Swift Maven Scrum Teams Agile Pilot"
SECOND = (
    "score: 64\n\n## 适合🚀 Mongo Storm Flink Spock Squid Cloud Bazel Squad Leans Coach Ember Astro Vault"
)
"""The first call for a task says other words than any later one, so that a mixture cannot pass for either."""
READ = '{"extractedText": "Platform engineer"}'
FLUSH_SIZE = 2
BATCHES = 1 + math.ceil((len(split_pieces(FIRST)) - 1) / FLUSH_SIZE)
"""The first piece goes out at once, the others by twos."""
BOTH: tuple[When, ...] = ("before", "after")
TEMPLATES = {"text": ("job_match",), "image": ("job_vision_summary", "job_match")}
Points = tuple["Point", ...]
"""Where one task is stopped: once a step."""
Events = Sequence[Mapping[str, Any]]


_NOT_REPEATED = frozenset(
    {
        ("claim_task", "before"),
        ("finish_task", "after"),
        ("fail_task", "after"),
        *(("begin_publish", when) for when in BOTH),
        *(("confirm_publish", when) for when in BOTH),
    }
)


@dataclass(frozen=True, slots=True)
class Point:
    """The `nth` call of `on`, a script or a command, in a step's first attempt; anywhere if `on` is empty."""

    on: str = ""
    when: When = "before"
    nth: int = 1
    step: int = 0

    def __str__(self) -> str:
        return f"{self.when} {self.on} {self.nth} of step {self.step}" if self.on else f"step {self.step}"

    def arm(self, proxy: RedisProxy, task_id: str, kind: str) -> Fault | None:
        """Have the proxy hold this write of a task, if it is one."""
        if not self.on:
            return None
        if self.on == "XADD":  # sent again when its reply stays away: held again
            words = f'{task_id} "step":{self.step}, "attempt":1,'
            return proxy.hold("XADD", when=self.when, nth=self.nth, times=None, about=words)
        words = f"{task_id}:{self.step}:"  # its holder
        if self.on in {"begin_publish", "confirm_publish"}:
            words = task_id
        elif self.on == "claim_task":
            words = f"{task_id} {TEMPLATES[kind][self.step]}"
        return proxy.hold(self.on, when=self.when, nth=self.nth, about=words)

    @property
    def reaches_model(self) -> bool:
        """Tell whether the first attempt calls the model."""
        return self.on != "claim_task"

    @property
    def keeps_first_call(self) -> bool:
        """Tell whether the task's text comes from the first call for it."""
        return not (self.reaches_model and self.is_repeated)

    @property
    def provider_fault(self) -> str:
        """What the first call must suffer for this write to be made; nothing for the others."""
        return {"release_attempt": "status", "fail_task": "empty"}.get(self.on, "")

    @property
    def is_repeated(self) -> bool:
        """Tell whether the step has a second attempt when its worker is lost here."""
        return (self.on, self.when) not in _NOT_REPEATED

    @property
    def ends(self) -> str:
        """The type of the event that the task ends with."""
        return "error" if (self.on, self.when) == ("fail_task", "after") else "done"

    def was_met(self, stored: Events) -> bool:
        """Tell from a task's events whether its first attempt at this step ended exactly here."""
        events = [event for event in stored if event.get("step") == self.step]
        starts = [event["attempt"] for event in events if event["type"] == "start"]
        if starts != ([1, 2] if self.is_repeated else [1]):
            return False
        written: int = sum(event["type"] == "token_batch" and event["attempt"] == 1 for event in events)
        match self.on:
            case "XADD":
                return written == self.nth - (self.when == "before")
            case "claim_task":
                return written == 0 or not self.is_repeated
            case "release_attempt":
                return any(event["type"] == "retrying" for event in stored) == (self.when == "after")
        return True


def at(on: str, step: int = 0, nths: Sequence[int] = (1,)) -> tuple[Point, ...]:
    """Return the points before and after these calls."""
    return tuple(Point(on, when, nth, step) for nth in nths for when in BOTH)


CLAIMS, FINISHES = at("claim_task"), at("finish_task")
GIVEN_BACK = at("release_attempt") + at("fail_task")
ALL_BATCHES = at("XADD", nths=range(1, BATCHES + 1))
"""Before and after each batch: every index from none of them to all of them."""
PICTURE_POINTS: tuple[Points, ...] = tuple(
    zip(
        (Point(), *CLAIMS, *FINISHES, Point()),
        (*at("claim_task", 1), *at("finish_task", 1), *at("XADD", 1, [BATCHES // 2])),
        strict=True,
    )
)
"""Where a task with a picture is stopped at its first step, and where at its second."""
