"""Invariants of outcomes: one for each accepted task, the same for every reader; and of every answer."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from devstack.soak.book import Answered
from devstack.soak.evidence import Events, Evidence
from devstack.soak.finding import Finding, Problem
from devstack.soak.reading import TERMINAL

TERMINAL_OF = {"done": "done", "failed": "error", "cancelled": "cancelled"}
ALLOWED = frozenset({200, 202, 404, 409, 429, 503})
"""404 and 409: what a user asked for who had just been deleted, or whose step before was not done."""
_FREED = frozenset({"publish_failed", "lost"})
"""How a task ends that was never handed over: its idempotency key is free again."""


def check_outcomes(evidence: Evidence) -> Iterator[Finding]:
    """Yield what there is to say of all tasks' ends."""
    records, tasks = evidence.records, evidence.taken
    states = Counter(record.get("errorCode") or record["state"] for record in records.values())
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield Finding.of("each accepted task has one outcome", told or "no task", _one_outcome(evidence))
    starts = sum(event["type"] == "start" for events in evidence.events.values() for _, event in events)
    yield Finding.of("no attempt ran twice, none too many", f"{starts} attempts", _attempts(evidence))
    readers = [reader for task in tasks for reader in task.readers]
    connections = sum(reader.connections for reader in readers)
    told = f"{len(readers)} readers, {connections} connections"
    yield Finding.of("all readers saw that one end", told, _readers(evidence))
    keyed = sum(len(tasks) for tasks in evidence.under_key.values())
    told = f"{len(evidence.under_key)} keys, {keyed} tasks"
    yield Finding.of("an idempotency key leads to one task", told, _keys(evidence.under_key, records))
    refusals = sum(answer.status in {429, 503} for answer in evidence.answers)
    told = f"{len(evidence.answers)} answers, {refusals} come back later"
    yield Finding.of("a refusal says when to come back", told, _answers(evidence.answers))


def _one_outcome(evidence: Evidence) -> Iterator[Problem]:
    for task in evidence.taken:
        if task.task_id not in evidence.records and not task.erased:
            yield Problem(f"accepted ({task.title}) and nowhere to be found", task.task_id)
    for task_id, record in evidence.records.items():
        state = record["state"]
        if state not in TERMINAL_OF:
            yield Problem(f"never ended: {state} at step {record['step']}", task_id)
            continue
        types = [event["type"] for _, event in evidence.events.get(task_id, [])]
        ends = [event_type for event_type in types if event_type in TERMINAL]
        if ends != [TERMINAL_OF[state]] or types[-1:] != ends:
            yield Problem(f"{state}, and its stream says {ends}, last of all {types[-1:]}", task_id)


def _attempts(evidence: Evidence) -> Iterator[Problem]:
    for task_id, events in evidence.events.items():
        starts = Counter((event["step"], event["attempt"]) for _, event in events if event["type"] == "start")
        for (step, attempt), count in starts.items():
            if count > 1:
                yield Problem(f"step {step}, attempt {attempt} started {count} times", task_id)
            if attempt > evidence.max_attempts:
                yield Problem(f"step {step} had an attempt {attempt}", task_id)


def _readers(evidence: Evidence) -> Iterator[Problem]:
    for task in evidence.taken:
        for reader in task.readers:
            if task.erased:  # its stream may be gone in the middle; but nobody waits for ever
                problem = None if reader.end else "a deleted user's reader never came to an end"
            else:
                stored = TERMINAL_OF.get(evidence.records.get(task.task_id, {}).get("state", ""))
                problem = _of_reader(reader.frames, reader.end, stored)
            if problem:
                yield Problem(problem, task.task_id)


def _of_reader(frames: Events, end: str | None, stored: str | None) -> str | None:
    ends = [event["type"] for _, event in frames if event["type"] in TERMINAL]
    if ends != [stored]:
        return f"a reader saw the ends {ends} (and then {end}), the record says {stored}"
    ids = [_id(event_id) for event_id, _ in frames if event_id]
    if any(later <= earlier for earlier, later in itertools.pairwise(ids)):
        return "a reader was shown events out of order, or twice"
    return None


def _id(event_id: str) -> tuple[int, int]:
    ms, _, number = event_id.partition("-")
    return int(ms), int(number)


def _keys(
    under_key: Mapping[tuple[str, str], Sequence[str]], records: Mapping[str, Mapping[str, str]]
) -> Iterator[Problem]:
    for (user, _), tasks in under_key.items():
        for task_id in tasks[:-1]:
            if records.get(task_id, {}).get("errorCode") not in _FREED:
                yield Problem(f"one key led to {len(tasks)} tasks", task_id, user)


def _answers(answers: Sequence[Answered]) -> Iterator[Problem]:
    for answer in answers:
        if answer.status not in ALLOWED:
            yield Problem(f"{answer.request} was answered {answer.status} {answer.error}", user=answer.user)
        elif answer.status in {429, 503} and (
            answer.retry_after is None or str(answer.retry_after) != answer.retry_after_header
        ):
            yield Problem(
                f"{answer.request}: {answer.status} {answer.error} without a time", user=answer.user
            )
