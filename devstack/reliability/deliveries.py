"""Messages delivered twice, again after their task has ended, or for nothing, because the answer got lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from devstack.reliability.messages import all_at_rest, deliver_again, faults, sent
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.traffic import (
    LANES,
    TEXT,
    UPLOAD,
    Job,
    ModelCalls,
    guest,
    payer,
    slowly,
    start,
    start_everywhere,
    teach,
)
from devstack.reliability.trials import Effort
from devstack.stack import Stack
from shared.state import keys


def duplicates(mode: str) -> Callable[[Stack, Tally, Effort], None]:
    def run(stack: Stack, tally: Tally, effort: Effort) -> None:
        for _ in range(effort.rounds):
            calls, before = ModelCalls(stack), stack.qstash.state()["deliveries"]
            with faults(stack, duplicate=True, duplicate_mode=mode):
                calls.judge(tally, *start_everywhere(stack))
            tally.faults += (stack.qstash.state()["deliveries"] - before) // 2

    return run


def lost_answers(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Lose all answers of lanes, so that QStash gives up on what was done; then one of each step callback."""
    for _ in range(effort.rounds):
        for to, count in ((LANES, True), ("/callbacks/step", 2)):
            calls, before = ModelCalls(stack), stack.qstash.state()["retry"]
            with faults(stack, drop_response=count, only={"drop_response": to}):
                calls.judge(tally, *start_everywhere(stack))
            tally.faults += stack.qstash.state()["retry"] - before


def after_the_end(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Deliver every message and callback of tasks that ended again, two of each at once."""
    for _ in range(effort.rounds):
        ends = {"done": _do(stack), "error": _fail(stack), "cancelled": _cancel(stack)}
        tally.ran(all_at_rest(stack), runs=0)
        jobs = [job for several in ends.values() for job in several]
        before, calls = [_all_of(stack, job) for job in jobs], ModelCalls(stack)
        with faults(stack, duplicate=True, duplicate_mode="concurrent"):
            for job in jobs:
                copies = sent(stack, "", job.id)
                deliver_again(stack, *copies)
                tally.faults += 2 * len(copies)
            calls.close(tally, expected=0)
        changed = (job for job, was in zip(jobs, before, strict=True) if _all_of(stack, job) != was)
        tally.ran((Problem("doubled", f"{job.id[:8]} was changed after its end") for job in changed), runs=0)
        for end, several in ends.items():
            for job in several:
                tally.ran(job.verdict(ends=end))


def _do(stack: Stack) -> list[Job]:
    """Run tasks to their good end in all lanes."""
    teach(stack)
    jobs = start_everywhere(stack)
    for job in jobs:
        job.reader.wait()
    return jobs


def _fail(stack: Stack) -> list[Job]:
    """Run tasks that their models refuse for good."""
    jobs = []
    for someone, model in ((payer(stack), "deepseek-chat"), (guest(stack), "glm-4.5-flash")):
        stack.llm.fail("status", status=401, model=model)
        jobs.append(start(someone, UPLOAD))
        jobs[-1].reader.wait()
    return jobs


def _cancel(stack: Stack) -> list[Job]:
    """Run tasks that are cancelled in mid-stream."""
    with slowly(stack):
        jobs = [start(someone, TEXT) for someone in (payer(stack), guest(stack))]
        for job in jobs:
            job.reader.wait_for("token_batch")
            job.someone.post(f"/tasks/{job.id}/cancel")
            job.reader.wait()
    return jobs


def _all_of(stack: Stack, job: Job) -> list[Any]:
    """Return all that is stored of a task and of its user's money."""
    user, events = job.someone.user, keys.events(job.someone.user, job.accepted["serviceId"], job.id)
    with contextlib.closing(stack.open_store()) as store:
        record, *rest = store.pipeline(
            [
                ["HGETALL", keys.task(job.id)],
                ["XRANGE", events, "-", "+"],
                ["LRANGE", keys.ledger(user), 0, -1],
                ["HGET", keys.quota(user), "balance"],
            ]
        )
    return [dict(zip(record[::2], record[1::2], strict=True)), *rest]  # a hash has no order of its own
