"""Callbacks of QStash that come twice, late or out of order."""

from __future__ import annotations

from devstack.reliability.messages import deliver_again, faults, sent, wait_for
from devstack.reliability.tally import Tally
from devstack.reliability.traffic import (
    FAILURE,
    IMAGE,
    STEP,
    TEXT,
    TRIES,
    UPLOAD,
    ModelCalls,
    guest,
    payer,
    published,
    slowly,
    start,
    undeliverable,
)
from devstack.reliability.trials import Effort
from devstack.stack import Stack


def doubled_callbacks(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Two copies of each callback: those that publish a next step, and those that publish a message anew."""
    for mode in ("sequential", "concurrent") * effort.rounds:
        calls, before = ModelCalls(stack), stack.qstash.state()["callbacks"]
        switches = undeliverable("/paid/batch/") | {"double_callbacks": True, "duplicate_mode": mode}
        with faults(stack, **switches):
            jobs = [start(payer(stack), UPLOAD), start(payer(stack), IMAGE), start(guest(stack), IMAGE)]
            calls.judge(tally, *jobs)
            tally.ran([problem for job in jobs for problem in published(stack, job, 2)], runs=0)
        tally.faults += stack.qstash.state()["callbacks"] - before


def late_callbacks(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Callbacks that come when their task runs its next step or message, and when it was cancelled."""
    for _ in range(effort.rounds):
        _callbacks_in_mid_run(stack, tally)
        _callbacks_after_a_cancel(stack, tally)


def _callbacks_in_mid_run(stack: Stack, tally: Tally) -> None:
    calls = ModelCalls(stack)
    with slowly(stack), faults(stack, **undeliverable("/paid/stream/")):
        late = {start(payer(stack), TEXT): FAILURE, start(guest(stack), IMAGE): STEP}
        for job, callback in late.items():
            job.reader.wait_for("token_batch")
            copies = sent(stack, callback, job.id)
            deliver_again(stack, *copies, *copies)
            wait_for(stack, callback, job.id, count=3 * len(copies))
            tally.faults += 2 * len(copies)
    calls.judge(tally, *late)
    tally.ran([problem for job in late for problem in published(stack, job, 2)], runs=0)


def _callbacks_after_a_cancel(stack: Stack, tally: Tally) -> None:
    calls = ModelCalls(stack)
    with faults(stack, hold_to="/callbacks/", **undeliverable("/paid/batch/")):
        late = {start(payer(stack), UPLOAD): FAILURE, start(guest(stack), IMAGE): STEP}
        for job, callback in late.items():
            wait_for(stack, callback, job.id, state="CREATED")
            job.someone.post(f"/tasks/{job.id}/cancel")
            job.reader.wait()
    tally.faults += len(late)
    calls.close(tally, expected=1)  # the picture's first step
    for job in late:
        tally.ran([*job.verdict(ends="cancelled"), *published(stack, job, 1)])


def out_of_order(stack: Stack, tally: Tally, effort: Effort) -> None:
    """The failure callback first (a step is done, but its answers were all lost), then four step callbacks.

    Then, when the next step has ended, all of them once more, the last first.
    """
    for _ in range(effort.rounds):
        calls = ModelCalls(stack)
        lost = {"drop_response": 2 * TRIES, "only": {"drop_response": "/job_vision_summary"}}
        with faults(stack, hold_to=STEP, **lost):
            jobs = [start(someone, IMAGE) for someone in (payer(stack), guest(stack))]
            for job in jobs:
                wait_for(stack, FAILURE, job.id)
                wait_for(stack, STEP, job.id, state="CREATED", count=TRIES)
        for job in jobs:
            job.reader.wait()
            copies = [*sent(stack, STEP, job.id), *sent(stack, FAILURE, job.id)]
            deliver_again(stack, *reversed(copies))
            tally.faults += 2 * len(copies)
        calls.judge(tally, *jobs)
        tally.ran([problem for job in jobs for problem in published(stack, job, 2)], runs=0)
