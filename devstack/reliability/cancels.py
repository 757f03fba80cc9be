"""A cancel is the stop button: however far the model is, its call is closed, and the user refunded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from devstack.frontend import until
from devstack.reliability.subjects import STREAMED_MODEL, STRUCTURED_MODEL, Started, Subject, all_at_once
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Trial
from devstack.reliability.verdict import at_rest
from devstack.stack import Stack

MID_STREAM_EVENTS = (1, 4, 9)


@dataclass(frozen=True, slots=True)
class Moment:
    """What the model is doing when it is cancelled, and after how many of the task's events that is."""

    name: str
    kind: str
    streams: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    batches: int = 0


MOMENTS = (
    Moment("unanswered", "hang", streams=True),
    Moment("unanswered", "hang", streams=False),
    Moment("thinking", "thinking", streams=True),
    Moment("thinking", "thinking", streams=False),
    Moment("silent", "silence", streams=True, facts={"after_pieces": 9}, batches=1),
    Moment("silent", "silence", streams=False, facts={"after_pieces": 9}),
    *(Moment("talking", "endless", streams=True, batches=batches) for batches in MID_STREAM_EVENTS),
    Moment("talking", "endless", streams=False),
)


def run_cancels(stack: Stack, tally: Tally, effort: Effort) -> None:
    for _ in range(effort.rounds):
        all_at_once(tally, [partial(_cancelled, stack, tally, moment) for moment in MOMENTS])
        stack.llm.heal()
        tally.problems += at_rest(stack)


def _cancelled(stack: Stack, tally: Tally, moment: Moment) -> list[Problem]:
    subject = Subject(stack, moment.name)
    if moment.streams:
        subject.prepared()
    subject.fails(moment.kind, streams=moment.streams, **moment.facts)
    task = subject.start(streams=moment.streams)
    _wait_for(task, moment, stack)
    answer = subject.post(f"/tasks/{task.accepted['taskId']}/cancel")
    answered = time.monotonic()
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled"), answer.text
    closed = until(partial(stack.llm.closed_at, subject.user), f"the call to be closed: {moment}")
    tally.cancel_ms.append(max(0.0, closed - answered) * 1000)
    return task.examine(ends="cancelled")


def _wait_for(task: Started, moment: Moment, stack: Stack) -> None:
    """Wait until the model is at it, and so far."""
    model, about = STREAMED_MODEL if task.streams else STRUCTURED_MODEL, task.owner.user
    until(
        lambda: next((True for r in stack.llm.requests if r.model == model and about in r.prompt), None),
        f"a call: {moment}",
    )
    until(
        lambda: True if task.reader.types.count("token_batch") >= moment.batches else None,
        f"text: {moment}",
    )


CANCELS = Trial("Cancel before the answer, while the model thinks, is silent, or talks", run_cancels)
