"""QStash rolls its signing keys, of which every function knows two, in the middle of everything."""

from __future__ import annotations

import base64
from http import HTTPStatus

from devstack.reliability.messages import faults, task_of, wait_for
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.traffic import (
    FAILURE,
    IMAGE,
    STEP,
    TEXT,
    UPLOAD,
    Job,
    ModelCalls,
    guest,
    payer,
    slowly,
    start,
    start_everywhere,
    undeliverable,
)
from devstack.reliability.trials import Effort
from devstack.stack import Stack


def rotation(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Rotate the signing keys: messages wait, messages are under delivery, callbacks are pending."""
    for _ in range(effort.rounds):
        for moment in (_while_messages_wait, _under_delivery, _while_callbacks_are_pending):
            calls, before = ModelCalls(stack), stack.qstash.signing_keys
            jobs = moment(stack)
            calls.judge(tally, *jobs)
            tally.ran(_refused(stack, jobs), runs=0)
            stack.qstash.restore_signing_keys(before)
            tally.faults += 1


def _while_messages_wait(stack: Stack) -> list[Job]:
    with faults(stack, hold=True):
        jobs = start_everywhere(stack)
        stack.qstash.rotate_signing_keys()
    return jobs


def _under_delivery(stack: Stack) -> list[Job]:
    """Rotate in mid-stream, and lose the answer: the message comes again, signed with the other key."""
    with faults(stack, drop_response=1, only={"drop_response": "/paid/stream/"}):
        jobs = [start(payer(stack), TEXT), start(guest(stack), IMAGE)]
        with slowly(stack):
            jobs[0].reader.wait_for("token_batch")
            stack.qstash.rotate_signing_keys()
        jobs[0].reader.wait()
    return jobs


def _while_callbacks_are_pending(stack: Stack) -> list[Job]:
    with faults(stack, hold_to="/callbacks/", **undeliverable("/paid/batch/")):
        pending = {start(payer(stack), UPLOAD): FAILURE, start(guest(stack), IMAGE): STEP}
        for job, callback in pending.items():
            wait_for(stack, callback, job.id, state="CREATED")
        stack.qstash.rotate_signing_keys()
    return list(pending)


def _refused(stack: Stack, jobs: list[Job]) -> list[Problem]:
    """Return whatever was answered 401."""
    ids = {job.id for job in jobs}
    rows = [row for row in stack.qstash.events() if row.get("responseStatus") == HTTPStatus.UNAUTHORIZED]
    mine = [row for row in rows if task_of(base64.b64decode(row["body"])) in ids]
    return [Problem("wrong", f"401 from {row['url']}") for row in mine]
