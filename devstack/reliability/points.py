"""Where a task can be stopped: at each of its writes, before Redis sees it or before its reply is seen.

A point belongs to one step of a task. It is armed as a hold of the proxy, and judged afterwards by what the
first attempt of that step has left in the stream: a fault that was never met proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devstack.llm.pieces import split_pieces
from devstack.proxy import Fault, RedisProxy
from devstack.proxy.faults import When

SAID = "score: 82\n\n## 匹配🎯 Redis Kafka Spark Scala Linux Nginx Azure Swift Maven Scrum Teams Agile Pilot"
READ = '{"extractedText": "Platform engineer, Python and Redis", "jobTitle": "Engineer"}'
FLUSH_SIZE = 2
BATCHES = 1 + math.ceil((len(split_pieces(SAID)) - 1) / FLUSH_SIZE)
"""The first piece goes out at once, the others by twos."""
BOTH: tuple[When, ...] = ("before", "after")
_TEMPLATES = {"text": ("job_match",), "image": ("job_vision_summary", "job_match")}


@dataclass(frozen=True, slots=True)
class Point:
    """The `nth` call of `on`, a script or a command, in a step's first attempt; anywhere when `on` is empty."""

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
        words = {
            "claim_task": f"{task_id} {_TEMPLATES[kind][self.step]}",
            "XADD": f'{task_id} "step":{self.step},',
        }.get(self.on, f"{task_id}:{self.step}:")
        return proxy.hold(self.on, when=self.when, nth=self.nth, about=words)

    @property
    def reaches_model(self) -> bool:
        """Tell whether the first attempt calls the model."""
        return self.on != "claim_task"

    @property
    def is_repeated(self) -> bool:
        """Tell whether the step has a second attempt when its worker is lost at this point."""
        return (self.on, self.when) not in {
            ("claim_task", "before"),
            ("finish_task", "after"),
            ("fail_task", "after"),
        }

    def was_met(self, stored: Sequence[dict[str, Any]]) -> bool:
        """Tell from a task's events whether its first attempt ended exactly here."""
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
        return True


CLAIMS = tuple(Point("claim_task", when) for when in BOTH)
FINISHES = tuple(Point("finish_task", when) for when in BOTH)
BATCHES_OF = tuple(Point("XADD", when, nth) for nth in range(1, BATCHES + 1) for when in BOTH)
"""Before and after each batch: every index from none of them to all of them."""
