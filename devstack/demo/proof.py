"""The proof: after the story, what must hold is checked with Redis, QStash, the models and `actions`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devstack.demo.client import Client
from devstack.demo.story import COINS, Story
from devstack.demo.tracking import Tracked
from devstack.stack import Stack
from shared.routing import Lane
from shared.state import keys

REST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, and what was found."""

    claim: str
    held: bool
    found: str


def prove(stack: Stack, client: Client, story: Story, user_id: str) -> list[Check]:
    """Check everything; first waits, for a moment, until what was under way has come to rest."""
    _wait_for_rest(stack)
    tasks = story.board.tasks
    return [
        *_tasks(client, tasks),
        _lanes(tasks),
        *_rest(stack, user_id),
        *_money(client.get("/quota"), story),
        *_manners(story),
    ]


def _wait_for_rest(stack: Stack) -> None:
    """Return when nothing is queued, running or on its way; if that takes too long, the checks will tell."""
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        if stack.gauges().is_empty and stack.qstash.state()["open"] == 0:
            return
        time.sleep(0.05)


def _tasks(client: Client, tasks: Sequence[Tracked]) -> Iterator[Check]:
    not_done = [f"{task.title}: {_outcome(task)}" for task in tasks if task.state != "done"]
    found = "; ".join(not_done) or f"{len(tasks)} tasks"
    yield Check("every task ended done, once", not not_done, found)
    problems = [f"{task.title}: {problem}" for task in tasks for problem in task.problems]
    found = "; ".join(problems) or "no gap"
    yield Check("every stream arrived whole and in order", not problems, found)
    streamed = [task for task in tasks if task.text]
    wrong = [task.title for task in streamed if task.text != _stored_text(client, task)]
    count = sum(len(task.text) for task in streamed)
    found = ", ".join(wrong) or f"{len(streamed)} streams, {count} characters"
    yield Check("the text that arrived is the text that was stored", bool(streamed) and not wrong, found)


def _outcome(task: Tracked) -> str:
    message = task.terminal.data.get("message", "") if task.terminal else ""
    return f"{task.state} {message}".strip()


def _stored_text(client: Client, task: Tracked) -> str | None:
    result = client.get(f"/tasks/{task.task_id}").get("result") or {}
    text: str | None = result.get("text")
    return text


def _lanes(tasks: Sequence[Tracked]) -> Check:
    used = {lane for task in tasks for lane in task.lanes}
    missing = [lane for lane in Lane if lane not in used]
    found = f"missing: {', '.join(missing)}" if missing else "5 of 5"
    return Check("all five lanes ran tasks", not missing, found)


def _rest(stack: Stack, user_id: str) -> Iterator[Check]:
    gauges = stack.gauges()
    used = [f"{lane} {level.used}" for lane, level in gauges.places.items() if level.used]
    yield Check("every queue is empty", not used, ", ".join(used) or f"{len(gauges.places)} queues")
    held = [f"{model}.{tier} {level.used}" for (model, tier), level in gauges.slots.items() if level.used]
    yield Check("every model slot is free", not held, ", ".join(held) or f"{len(gauges.slots)} slot sets")
    with contextlib.closing(stack.open_store()) as store:
        active = store.command("SCARD", keys.active(user_id))
    found = f"{gauges.open_tasks} open, {active} of the user's"
    yield Check("no task is pending", gauges.open_tasks == 0 and active == 0, found)
    qstash = stack.qstash.state()
    found = f"{qstash['open']} on the way, {qstash['dlq_size']} in the dead-letter queue"
    yield Check("QStash holds no message", qstash["open"] == 0 and qstash["dlq_size"] == 0, found)
    running = sum(stack.llm.state["running"].values())
    yield Check("no model call is running", running == 0, f"{running} calls")


def _money(quota: Mapping[str, Any], story: Story) -> Iterator[Check]:
    balance, ledger = quota["balance"], quota["ledger"]
    found = f"{COINS} - {story.spent} = {balance}"
    yield Check("the balance is the coins less the costs", balance == COINS - story.spent, found)
    running, exact = 0, True
    for entry in ledger:
        running += entry["delta"]
        exact = exact and entry["balance"] == running
    found = f"{len(ledger)} entries, sum {running}"
    yield Check("the ledger adds up, entry by entry", exact and running == balance, found)
    paid = sorted(task.task_id for task in story.board.tasks if not task.is_free)
    debited = sorted(entry["taskId"] for entry in ledger if entry["kind"] == "debit")
    refunds = sum(entry["kind"] == "refund" for entry in ledger)
    found = f"{len(paid)} paid tasks, {len(debited)} debits, {refunds} refunds"
    yield Check("each paid task was debited once, and nothing else", paid == debited and not refunds, found)


def _manners(story: Story) -> Iterator[Check]:
    free = sum(task.is_free for task in story.board.tasks)
    found = "; ".join(story.surprises) or f"{free} tasks took the free lanes"
    yield Check("paid while the coins last, free afterwards", not story.surprises and free > 0, found)
    found = "the same task" if story.replayed else "another task"
    yield Check("a repeated request starts nothing new", story.replayed, found)
    refused = story.refused
    held = refused is not None and refused.error == "user_busy" and bool(refused.retry_after_seconds)
    found = f"{refused.error}, retry after {refused.retry_after_seconds} s" if refused else "accepted"
    yield Check("one task too many is told when to come back", held, found)
