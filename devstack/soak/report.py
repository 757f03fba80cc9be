"""The end of a soak: the table of invariants, the evidence of what broke, and a file to come back to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from devstack.soak.finding import Finding, Problem
from devstack.soak.run import Outcome

SHOWN_PROBLEMS = 5
"""Of one invariant, on the terminal; the file has all."""
SHOWN_EVENTS = 12
_TOLD = (
    *("userId", "action", "tier", "state", "step", "attempt", "n", "published", "requeues", "waitedMs"),
    *("errorCode", "refunded", "createdAt", "finishedAt"),
)
LOG_LINES = 20
"""The latest lines of each function's log that name the task."""


def command_of(outcome: Outcome) -> str:
    """Return what replays the schedule."""
    return f'make soak ARGS="--minutes {outcome.plan.seconds / 60:g} --seed {outcome.plan.seed}"'


def print_report(outcome: Outcome, console: Console) -> None:
    """Print faults, requests, invariants and, where one broke, the evidence."""
    counts = outcome.progress.injector.counts
    console.print(_counted("Faults", counts.most_common()))
    console.print(_counted("Requests", outcome.progress.book.requests.most_common()))
    for happened in outcome.progress.injector.happened:
        if happened.problem:
            console.print(f"{happened.fault}: {happened.problem}", style="yellow", markup=False)
    console.print(_invariants(outcome.findings))
    for finding in outcome.findings:
        for problem in finding.problems[:SHOWN_PROBLEMS]:
            console.print(f"{finding.claim}: {problem}", style="red", markup=False, highlight=False)
            for line in _evidence_lines(outcome, problem):
                console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    verdict, style = ("All of it held", "bold green") if outcome.held else ("NOT all of it held", "bold red")
    console.print(f"{verdict}; {outcome.seconds:.0f} s, schedule {outcome.plan.digest}.", style=style)
    console.print(f"again: {command_of(outcome)}", markup=False, highlight=False)


def write_json(outcome: Outcome, folder: Path) -> Path:
    """Write all there is to know of a run, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{outcome.plan.seed}.json"
    file.write_text(json.dumps(_as_json(outcome), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return file


def _as_json(outcome: Outcome) -> dict[str, Any]:
    progress, began = outcome.progress, outcome.progress.started_at
    return {
        "seed": outcome.plan.seed,
        "minutes": outcome.plan.seconds / 60,
        "schedule": outcome.plan.digest,
        "seconds": round(outcome.seconds, 1),
        "held": outcome.held,
        **progress.book.as_json(),
        "faults": [
            {
                "at": round(each.began_at - began, 2),
                "fault": str(each.fault),
                "count": each.fault.count,
                "seconds": None if each.ended_at is None else round(each.ended_at - each.began_at, 2),
                "problem": each.problem,
            }
            for each in progress.injector.happened
        ],
        "ended": [_task_json(outcome, task_id) for task_id in outcome.evidence.records],
        "invariants": [
            {
                "claim": finding.claim,
                "checked": finding.checked,
                "held": finding.held,
                "problems": [_problem_json(outcome, problem) for problem in finding.problems],
            }
            for finding in outcome.findings
        ],
    }


def _task_json(outcome: Outcome, task_id: str) -> dict[str, Any]:
    """Return a task in a few words: what its record says, and its events without texts and results."""
    record, events = outcome.evidence.records[task_id], outcome.evidence.events[task_id]
    brief = [(event_id, event["type"], event.get("step")) for event_id, event in events]
    return {name: record[name] for name in _TOLD if name in record} | {
        "taskId": task_id,
        "events": [each for each in brief if each[1] != "token_batch"],
    }


def _problem_json(outcome: Outcome, problem: Problem) -> dict[str, Any]:
    evidence, task_id = outcome.evidence, problem.task_id or ""
    user = problem.user or evidence.records.get(task_id, {}).get("userId", "")
    account = evidence.accounts.get(user)
    return {
        "problem": problem.text,
        "taskId": problem.task_id,
        "user": user or None,
        "record": evidence.records.get(task_id),
        "events": [[event_id, event] for event_id, event in evidence.events.get(task_id, [])],
        "ledger": account.ledger if account else None,
        "calls": [
            {
                "number": call.number,
                "from": call.started_at - outcome.progress.started_at,
                "finished": call.finished,
            }
            for call in evidence.calls
            if task_id and set(call.labels) & _labels(outcome, task_id)
        ],
        "log": list(_log_lines(outcome, task_id)),
    }


def _labels(outcome: Outcome, task_id: str) -> set[str]:
    return {task.label for task in outcome.evidence.taken if task.task_id == task_id and task.label}


def _evidence_lines(outcome: Outcome, problem: Problem) -> Iterator[str]:
    if problem.task_id is None:
        return
    record = outcome.evidence.records.get(problem.task_id, {})
    yield " ".join(f"{name}={record[name]}" for name in _TOLD if name in record)
    for event_id, event in outcome.evidence.events.get(problem.task_id, [])[-SHOWN_EVENTS:]:
        facts = {
            k: v for k, v in event.items() if k not in {"type", "taskId", "text", "result", "usage", "data"}
        }
        yield f"{event_id} {event['type']} {facts}"
    yield from _log_lines(outcome, problem.task_id)


def _log_lines(outcome: Outcome, task_id: str) -> Iterator[str]:
    stack = outcome.progress.stack
    for name in stack.functions if task_id else ():
        lines = [line for line in stack.log(name).splitlines() if task_id in line]
        yield from (f"{name}: {line}" for line in lines[-LOG_LINES:])


def _counted(title: str, counts: Sequence[tuple[Any, int]]) -> str:
    return f"{title}: " + ", ".join(f"{what} {count}" for what, count in counts)


def _invariants(findings: Sequence[Finding]) -> Table:
    table = Table(title="The invariants", title_justify="left", title_style="bold")
    for heading in ("held", "claim", "checked on", "found"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        found = "–" if finding.held else f"{len(finding.problems)}: {finding.problems[0]}"
        style = "" if finding.held else "red"
        table.add_row("yes" if finding.held else "NO", finding.claim, finding.checked, found, style=style)
    return table
