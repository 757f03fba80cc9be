"""One soak from boot to verdict: traffic and faults, the cool-down, the invariants.

boot ─▶ traffic ─▶ cool-down ─▶ checks        `interrupted` ends the traffic early; the rest still comes
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from deployment.bundles.staging import BUILD_FOLDER
from devstack.soak.book import Book
from devstack.soak.evidence import Evidence, connections, gather
from devstack.soak.finding import Finding
from devstack.soak.injector import Injector
from devstack.soak.leftovers import check_leftovers
from devstack.soak.limits import check_limits
from devstack.soak.logs import check_logs
from devstack.soak.money import check_money
from devstack.soak.outcomes import check_outcomes
from devstack.soak.plan import Plan
from devstack.soak.reconciling import check_reconciliation
from devstack.soak.rest import come_to_rest, keep_sweeping
from devstack.soak.texts import check_texts
from devstack.soak.users import Ending, User
from devstack.soak.watch import Watch
from devstack.stack import Stack
from shared.routing import Lane

SETTINGS = {
    "LEASE_SECONDS": "2",
    "WORKER_TIMEOUT_SECONDS": "8",
    "MAX_WAIT_SECONDS_STREAM": "30",
    "MAX_WAIT_SECONDS_BATCH": "30",
    "TASK_RETRIES": "3",
    "SWEEP_MINUTES": "1",
    "DEEPSEEK_MAX_WORKERS": "3",
    "GLM_MAX_WORKERS": "2",
    "QUEUE_MAX_SIZE": "8",
    "USER_MAX_ACTIVE": "3",
    "INITIAL_QUOTA": "12",
    "STREAM_FLUSH_SIZE": "16",
    "HEARTBEAT_SECONDS": "4",
    "MAX_CONNECTION_SECONDS": "20",
}
"""Small everywhere, so that every limit is met: slots, places, coins, leases, connections' lives."""
REST_SECONDS = 90.0
"""Longer than a task of two steps can last whose every attempt is lost."""
USERS_SECONDS = 30.0
CLOSING_SECONDS = 5.0


class Phase(StrEnum):
    """Where a soak is."""

    TRAFFIC = "traffic and faults"
    COOL_DOWN = "cool-down"
    CHECKS = "checks"


@dataclasses.dataclass(slots=True)
class Progress:
    """What a screen shows; written by the run."""

    plan: Plan
    book: Book
    injector: Injector
    watch: Watch
    stack: Stack
    started_at: float
    phase: Phase = Phase.TRAFFIC


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a soak ended."""

    plan: Plan
    findings: Sequence[Finding]
    progress: Progress
    evidence: Evidence
    seconds: float

    @property
    def held(self) -> bool:
        return all(finding.held for finding in self.findings)


def stack_for_soak(build_folder: Path = BUILD_FOLDER) -> Stack:
    """Return a stack whose every function can be taken over or cut off from Redis."""
    return Stack(
        proxied=True,
        persistent=True,
        fronted=[*Lane],
        overrides=SETTINGS,
        qstash_time_scale=0.1,
        first_token_ms=150,
        tokens_per_second=300,
        build_folder=build_folder,
    )


def soak(
    stack: Stack, plan: Plan, interrupted: threading.Event, screen: Callable[[Progress], Any]
) -> Outcome:
    """Run a plan on a running stack and check everything.

    Args:
        stack: made by `stack_for_soak`, and entered.
        plan: what is asked and broken.
        interrupted: set by somebody who wants the traffic to end now.
        screen: makes a context manager that shows the progress.
    """
    stack.llm.transcript.on = True
    quiet, book, ending = connections(stack), Book(), Ending(threading.Event(), threading.Event())
    injector = Injector(stack, plan, ending.traffic)
    names = [plan.user_name(user) for user in range(plan.users)]
    started_at = time.monotonic()
    with Watch(stack, names) as watch:
        progress = Progress(plan, book, injector, watch, stack, started_at)
        with screen(progress):
            _traffic(progress, ending, interrupted)
            progress.phase = Phase.COOL_DOWN
            unrest = come_to_rest(stack, book, watch.seen, deadline_seconds=REST_SECONDS)
            ending.over.set()
            progress.phase = Phase.CHECKS
            _wait_for_closing(stack)
    evidence = gather(
        stack, plan, book, injector, watch.seen, unrest, settings=SETTINGS, quiet_connections=quiet
    )
    logs = {name: stack.log(name) for name in stack.functions}
    findings = [*check(evidence), check_reconciliation(stack, SETTINGS), check_logs(logs)]
    return Outcome(plan, findings, progress, evidence, time.monotonic() - started_at)


def check(evidence: Evidence) -> list[Finding]:
    """Return what became of each invariant."""
    return [
        *check_outcomes(evidence),
        *check_texts(evidence),
        *check_money(evidence),
        *check_limits(evidence),
        *check_leftovers(evidence),
    ]


def _traffic(progress: Progress, ending: Ending, interrupted: threading.Event) -> None:
    """Let users and faults loose until the plan's time is over; returns when all of it has stopped."""
    plan, stack, started_at = progress.plan, progress.stack, progress.started_at
    threads = [
        threading.Thread(target=progress.injector.run, args=(started_at,), daemon=True),
        threading.Thread(target=keep_sweeping, args=(stack, ending.traffic), daemon=True),
    ]
    for number in range(plan.users):
        acts = [act for act in plan.acts if act.user == number]
        user = User(stack, plan.user_name(number), acts, progress.book, ending)
        threads.append(threading.Thread(target=user.run, args=(started_at,), name=user.name, daemon=True))
    for thread in threads:
        thread.start()
    interrupted.wait(max(0.0, started_at + plan.seconds - time.monotonic()))
    ending.traffic.set()
    progress.injector.mend()
    deadline = time.monotonic() + USERS_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _wait_for_closing(stack: Stack) -> None:
    """Give connections that were just closed the moment that the other end takes to notice."""
    deadline = time.monotonic() + CLOSING_SECONDS
    with contextlib.closing(stack.open_store()):
        while time.monotonic() < deadline and any(connections(stack)[name] for name in stack.functions):
            time.sleep(0.1)
