"""Messages and callbacks that are gone for good: their tasks still end, and nobody waits for ever."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

from devstack.frontend import Frontend, until
from devstack.proxy import Fault
from devstack.reliability.messages import IDLE_SECONDS, faults, forget, purge_dead_letters, wait_for
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.touches import TOUCHES, no_sweep, touch_each, touchers
from devstack.reliability.traffic import (
    FAILURE,
    IMAGE,
    LANES,
    OVERRIDES,
    STEP,
    TEXT,
    TRIES,
    UPLOAD,
    Job,
    ModelCalls,
    payer,
    start,
    unanswered,
    undeliverable,
)
from devstack.reliability.trials import Effort, Section, Trial
from devstack.stack import Stack
from shared.state import keys

BATCH = "/paid/batch/"
STARTS = 10
ADMITTED = 1
"""Tasks that the touches cause themselves."""


def lost_message(stack: Stack, tally: Tally, effort: Effort) -> None:
    """QStash accepts messages and loses them."""
    for _ in range(effort.rounds):
        with _lost(stack, tally, calls=ADMITTED) as users:
            with faults(stack, drop_publish=len(users), only={"drop_publish": LANES}):
                jobs = {name: start(user, UPLOAD) for name, user in users.items()}
            touch_each(tally, jobs)


def purged_dead_letters(stack: Stack, tally: Tally, effort: Effort) -> None:
    """QStash gives up on messages, does not call back, and somebody empties its dead-letter queue."""
    for _ in range(effort.rounds):
        with _lost(stack, tally, calls=ADMITTED) as users:
            lost = {"drop_delivery": TRIES * len(users), "drop_callbacks": True}
            with faults(stack, only={"drop_delivery": BATCH, "drop_callbacks": FAILURE}, **lost):
                jobs = {name: start(user, UPLOAD) for name, user in users.items()}
                for job in jobs.values():
                    wait_for(stack, BATCH, job.id, state="FAILED")
            purge_dead_letters(stack)
            touch_each(tally, jobs)


def lost_step_callback(stack: Stack, tally: Tally, effort: Effort) -> None:
    """The callback that publishes a next step never comes: the next touch publishes it."""
    for _ in range(effort.rounds):
        with _lost(stack, tally, calls=2 * len(TOUCHES) + ADMITTED) as users:
            with faults(stack, drop_callbacks=True, only={"drop_callbacks": STEP}):
                jobs = {name: _first_step_done(user) for name, user in users.items()}
                stack.qstash.wait_until_idle(IDLE_SECONDS)  # a step's answer comes after its event
            touch_each(tally, jobs, ends="done", code=None)


def _first_step_done(someone: Frontend) -> Job:
    """Return a task whose first step is done; on a busy machine one may wait too long for its turn first."""
    for _ in range(STARTS):
        job = start(someone, IMAGE)
        if job.hears("step_result", "error") == "step_result":
            return job
    raise AssertionError(f"{STARTS} pictures waited too long to be read")


def killed_before_publish(stack: Stack, tally: Tally, effort: Effort) -> None:
    """`actions` dies between the debit and the publish; one page repeats its request, and is served."""
    for _ in range(effort.rounds):
        with _lost(stack, tally, calls=1 + ADMITTED) as users, ThreadPoolExecutor() as pool:
            repeating, key = payer(stack), uuid.uuid4().hex
            with faults(stack, publish_status="hang"):
                jobs = {name: unanswered(pool, user, UPLOAD) for name, user in users.items()}
                repeated = unanswered(pool, repeating, TEXT, Idempotency_Key=key)
                stack.kill("actions")
            stack.restart("actions")
            again = repeating.post(f"/actions/{TEXT.action}", TEXT.body, Idempotency_Key=key).json()
            if (again.get("replay"), again.get("taskId")) != (True, repeated.id):
                tally.ran([Problem("wrong", f"the repeated request: {again}")], runs=0)
            tally.ran(repeated.verdict())
            touch_each(tally, jobs)


def killed_before_confirm(stack: Stack, tally: Tally, effort: Effort) -> None:
    """`actions` dies between the publish and its note; one message is delivered, the others come too late."""
    assert stack.proxy is not None
    for _ in range(effort.rounds):
        with (
            _lost(stack, tally, calls=1 + ADMITTED) as users,
            faults(stack, hold_to=BATCH),
            ThreadPoolExecutor() as pool,
        ):
            held = stack.proxy.hold("confirm_publish", times=None)
            jobs = {name: unanswered(pool, user, UPLOAD) for name, user in users.items()}
            delivered = unanswered(pool, payer(stack), TEXT)
            _wait_for_hits(held, len(users) + 1)
            stack.kill("actions")
            stack.proxy.heal()
            stack.restart("actions")
            tally.ran(delivered.verdict())
            touch_each(tally, jobs)


def _wait_for_hits(fault: Fault, count: int) -> None:
    until(lambda: True if fault.hits >= count else None, "all messages to be with QStash")


def killed_in_callback(stack: Stack, tally: Tally, effort: Effort) -> None:
    """`actions` dies when it has decided on a new message, before its publish, and is never called again."""
    for _ in range(effort.rounds):
        with _lost(stack, tally, calls=len(TOUCHES) + ADMITTED) as users:
            with faults(stack, hold_to=FAILURE, **undeliverable("/paid/stream/", len(users))):
                jobs = {name: start(user, TEXT) for name, user in users.items()}
                callbacks = [wait_for(stack, FAILURE, job.id, state="CREATED")[0] for job in jobs.values()]
                stack.qstash.faults.update({"publish_status": "hang", "hold_to": ""})
                for job in jobs.values():
                    _wait_for_number(stack, job, 2)
                forget(stack, *callbacks)
                stack.kill("actions")
            stack.restart("actions")
            touch_each(tally, jobs, ends="done", code=None)


def _wait_for_number(stack: Stack, job: Job, n: int) -> None:
    with closing(stack.open_store()) as store:
        read = partial(store.command, "HGET", keys.task(job.id), "n")
        until(lambda: True if read() == str(n) else None, f"message {n} to be decided on")


def killed_lane(stack: Stack, tally: Tally, effort: Effort) -> None:
    """A lane dies in mid-call, and QStash gives up before another comes: stalled once the lease is over."""
    for _ in range(effort.rounds):
        with _lost(stack, tally, calls=2) as users:
            stack.llm.fail("hang", model="deepseek-chat", times=2)
            with faults(stack, drop_callbacks=True, only={"drop_callbacks": FAILURE}):
                jobs = {name: start(users[name], UPLOAD) for name in ("status", "sweep")}
                _wait_for_calls(stack, "deepseek-chat", len(jobs))
                stack.kill("paid_batch")
                for job in jobs.values():
                    wait_for(stack, BATCH, job.id, state="FAILED")
            stack.restart("paid_batch")
            touch_each(tally, jobs)


def _wait_for_calls(stack: Stack, model: str, count: int) -> None:
    until(lambda: True if stack.llm.state["running"].get(model) == count else None, f"{count} calls")


@contextmanager
def _lost(stack: Stack, tally: Tally, *, calls: int) -> Iterator[dict[str, Frontend]]:
    """Give a user for each touch, whose tasks get lost in the block; nothing sweeps but a touch.

    Args:
        stack: at rest, before and after.
        tally: where to count.
        calls: of models, that are made all the same.
    """
    users = touchers(stack)
    counted = ModelCalls(stack)
    with no_sweep(stack):
        yield users
    tally.faults += len(users)
    counted.close(tally, calls)


SECTION = Section(
    name="losses",
    promise="What nobody carries any more is shown as stalled, and ends or goes on at the next touch.",
    stack={
        "proxied": True,
        "overrides": OVERRIDES
        | {
            "LEASE_SECONDS": "1",
            "WORKER_TIMEOUT_SECONDS": "10",
            "MAX_WAIT_SECONDS_BATCH": "3",
            "MAX_WAIT_SECONDS_STREAM": "15",
            "SWEEP_MINUTES": "1",
        },
        "qstash_time_scale": 0.02,
        "first_token_ms": 20,
        "tokens_per_second": 3_000,
    },
    trials=(
        Trial("QStash loses the message", lost_message),
        Trial("QStash gives up, its callback is lost and its dead-letter queue purged", purged_dead_letters),
        Trial("the callback that publishes a next step never comes", lost_step_callback),
        Trial("`actions` killed between debit and publish", killed_before_publish),
        Trial("`actions` killed between publish and its confirmation", killed_before_confirm),
        Trial("`actions` killed in a callback that never comes again", killed_in_callback),
        Trial("a lane killed in mid-call, and its messages given up on", killed_lane),
    ),
)
