"""The touches that end what nobody will end: a status call, the same user's next admission, the sweep.

Each is tried alone: what is overdue is seen by a reader as `stalled` first, which touches nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from devstack.frontend import Frontend
from devstack.reliability.messages import IDLE_SECONDS, switch_schedules
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.traffic import TEXT, Job, payer, start
from devstack.reliability.verdict import TERMINAL
from devstack.stack import Stack


def _status(job: Job) -> list[Problem]:
    job.someone.outcome(job.accepted)  # polled, as a page does
    return []


def _admission(job: Job) -> list[Problem]:
    return start(job.someone, TEXT).verdict()


def _sweep(job: Job) -> list[Problem]:
    with _schedules(job.someone.stack, "resume", "pause"):
        job.reader.wait()
    return []


TOUCHES: Mapping[str, Callable[[Job], list[Problem]]] = {
    "status": _status,
    "admission": _admission,
    "sweep": _sweep,
}
"""By name, the sweep last: it looks after everybody's tasks."""


def touchers(stack: Stack) -> dict[str, Frontend]:
    """Return a user for each touch, each with a résumé."""
    return {name: payer(stack, f"touched-by-{name}") for name in TOUCHES}


@contextlib.contextmanager
def no_sweep(stack: Stack) -> Iterator[None]:
    """Keep QStash from calling the sweep for the block, in which all tasks have ended at first."""
    with _schedules(stack, "pause", "resume"):
        stack.qstash.wait_until_idle(IDLE_SECONDS)  # a sweep may be on its way
        yield


@contextlib.contextmanager
def _schedules(stack: Stack, before: str, after: str) -> Iterator[None]:
    switch_schedules(stack, before)
    try:
        yield
    finally:
        switch_schedules(stack, after)


def touch_each(
    tally: Tally, jobs: Mapping[str, Job], *, ends: str = "error", code: str | None = "lost"
) -> None:
    """Wait until each task's reader was told that it is stalled; touch it in its own way, and judge its end.

    Args:
        tally: where to count.
        jobs: by the name of the touch.
        ends: the type of the terminal event.
        code: the error's code.
    """
    for job in jobs.values():
        tally.ran(_stalled(job), runs=0)
    for name, job in jobs.items():
        problems = TOUCHES[name](job)
        job.reader.wait()  # before the verdict asks for the status, which is a touch too
        tally.ran([*problems, *job.verdict(ends=ends, code=code)])


def _stalled(job: Job) -> list[Problem]:
    heard = job.hears("stalled", *TERMINAL)
    return [] if heard == "stalled" else [Problem("wrong", f"not stalled before its end: {job.reader.all}")]
