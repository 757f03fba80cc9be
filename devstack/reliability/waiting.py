"""Waiting is not failing: overload, slots that others hold, and waiting budgets that run out (D12).

The crowd comes at ten times the rate at which its queue drains, and does what it is told: whoever is refused
comes back after `Retry-After`. The strangers hold every slot of a model for longer than all of QStash's
retries take.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from devstack.frontend import JOB, RESUME, Frontend, until
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.trials import Effort, Section, Trial
from devstack.reliability.verdict import at_rest, examine, stored_events
from devstack.stack import Stack
from shared.routing import Model, Tier
from shared.state import keys

PLACES, SLOTS, OVERLOAD = 10, 2, 10
NEXT_TRY_SHARE = 0.9
IN_ORDER = 0.8
"""The least rank correlation (Spearman's rho) between the order of admission and of the starts."""
WAIT_SECONDS_STREAM = 2.0
_FAR_MS = 10**14


@dataclass(frozen=True, slots=True)
class Visit:
    """How one client of the crowd fared: after how many tries it got in, and with what."""

    someone: Frontend
    tries: int
    accepted: dict[str, Any]


def crowd(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Ten times as many clients as the queue drains, for as long as it takes to drain it once or more."""
    per_second = _drain_rate(stack)
    count = max(4 * PLACES, round(per_second * OVERLOAD * (4 if effort.thorough else 0.8)))
    started = time.monotonic()

    def visit(number: int) -> Visit:
        _sleep_until(started + number / (per_second * OVERLOAD))
        return _come_until_taken(Frontend(stack, f"crowd-{started:.0f}-{number}"))

    with ThreadPoolExecutor(count) as pool:
        visits = list(pool.map(visit, range(count)))
    refused = [visit for visit in visits if visit.tries > 1]
    at_next_try = sum(visit.tries == 2 for visit in refused)
    if not refused or at_next_try < NEXT_TRY_SHARE * len(refused):
        tally.ran(
            [Problem("wrong", f"only {at_next_try} of {len(refused)} refused got in at their next try")], 0
        )
    tally.faults += len(refused)
    _all_end(stack, tally, visits)
    tally.ran(_order(visits), 0)


def slots_taken(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Somebody else's holders in every slot, until QStash has given up on every message once."""
    with _strangers(stack, Model.DEEPSEEK_CHAT):
        visits = [
            Visit(someone := Frontend(stack, f"waiting-{time.time_ns()}"), 1, _upload(someone))
            for _ in range(PLACES if effort.thorough else 5)
        ]
        for visit in visits:
            until(lambda v=visit: True if _field(v, "requeues") >= 1 else None, "QStash to give up", 60)  # type: ignore[misc]
    tally.faults += sum(_field(visit, "requeues") for visit in visits)
    _all_end(stack, tally, visits)
    attempts = {_field(visit, "attempt") for visit in visits}
    if attempts != {1}:
        tally.ran([Problem("wrong", f"waiting used up attempts: {attempts}")], 0)


def budget_used_up(stack: Stack, tally: Tally, effort: Effort) -> None:
    """Every slot taken for longer than a task may wait: it ends `wait_timeout`, refunded."""
    users = [f"late-{time.time_ns()}-{i}" for i in range(5 if effort.thorough else 2)]
    people = [Frontend(stack, user).with_resume() for user in users]
    with _strangers(stack, Model.DEEPSEEK_REASONER):
        tasks = [one.act("create-service", {"jobText": JOB, "locale": "en"}) for one in people]
        problems = [
            examine(one, task, ends="error", code="wait_timeout")
            for one, task in zip(people, tasks, strict=True)
        ]
    for found in problems:
        tally.ran(found)
    tally.ran([*_no_dead_letters(stack), *at_rest(stack)], 0)


def _all_end(stack: Stack, tally: Tally, visits: Sequence[Visit]) -> None:
    for visit in visits:
        tally.ran(examine(visit.someone, visit.accepted))
    tally.ran([*_no_dead_letters(stack), *at_rest(stack)], 0)


def _come_until_taken(someone: Frontend) -> Visit:
    """Ask for a place, and again whenever told to."""
    tries = 0
    while True:
        tries += 1
        response = someone.post("/actions/upload-resume", {"text": RESUME, "locale": "en"})
        if response.status_code == 202:
            return Visit(someone, tries, response.json())
        assert response.json()["error"] == "queue_full", response.text
        _sleep_until(time.monotonic() + int(response.headers["Retry-After"]))


def _sleep_until(moment: float) -> None:
    """Sleep until a moment of `time.monotonic`: a client that does as it is told."""
    time.sleep(max(0.0, moment - time.monotonic()))


def _drain_rate(stack: Stack) -> float:
    """Return how many uploads end in a second when the queue is full, having run some."""
    people = [Frontend(stack, f"first-{time.time_ns()}-{i}") for i in range(PLACES)]
    tasks = [_upload(one) for one in people]
    started = time.monotonic()
    for one, task in zip(people, tasks, strict=True):
        one.outcome(task)
    return PLACES / (time.monotonic() - started)


def _upload(someone: Frontend) -> dict[str, Any]:
    return someone.act("upload-resume", {"text": RESUME, "locale": "en"})


def _order(visits: Sequence[Visit]) -> Iterator[Problem]:
    """First come, first served, roughly: the order of the starts is that of the admissions."""
    moments = [_moments(visit) for visit in visits]
    rho = statistics.correlation(_ranks([at for at, _ in moments]), _ranks([at for _, at in moments]))
    if rho < IN_ORDER:
        yield Problem("wrong", f"served out of order: rank correlation {rho:.2f}")


def _moments(visit: Visit) -> tuple[float, float]:
    events = stored_events(visit.someone, visit.accepted)
    start = next(event for event in events if event["type"] == "start")
    return events[0]["at"], start["at"]


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def _field(visit: Visit, name: str) -> int:
    with contextlib.closing(visit.someone.stack.open_store()) as store:
        return int(store.command("HGET", keys.task(visit.accepted["taskId"]), name))


def _no_dead_letters(stack: Stack) -> Iterator[Problem]:
    stack.qstash.wait_until_idle()
    if buried := stack.qstash.state()["dlq_size"]:
        yield Problem("lost", f"{buried} messages in the dead-letter queue")


@contextlib.contextmanager
def _strangers(stack: Stack, model: Model) -> Iterator[None]:
    key = keys.slots(model, Tier.PAID)
    names = [f"stranger-{i}" for i in range(SLOTS)]
    with contextlib.closing(stack.open_store()) as store:
        for name in names:
            store.command("ZADD", key, _FAR_MS, name)
        try:
            yield
        finally:
            store.command("ZREM", key, *names)


SECTION = Section(
    name="waiting",
    promise="Waiting is not failing: who is told to come back gets in, and no wait uses up a retry.",
    stack={
        "overrides": {
            "QUEUE_MAX_PAID_BATCH": str(PLACES),
            "DEEPSEEK_MAX_WORKERS": str(SLOTS),
            "LEASE_SECONDS": "2",
            "MAX_WAIT_SECONDS_STREAM": str(WAIT_SECONDS_STREAM),
            "MAX_WAIT_SECONDS_BATCH": "120",
            "WORKER_TIMEOUT_SECONDS": "20",
        },
        "first_token_ms": 250,
        "tokens_per_second": 5000,
        "qstash_time_scale": 0.1,
    },
    trials=(
        Trial("ten times more clients than the queue drains, who come back when told", crowd),
        Trial("every slot taken for longer than all of QStash's retries", slots_taken),
        Trial("every slot taken for longer than a task may wait", budget_used_up),
    ),
)
