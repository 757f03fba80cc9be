"""The proof: after the story, what must hold is checked with Redis, QStash, the models and `actions`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.demo.client import Client
from devstack.demo.story import COINS, Story
from devstack.demo.words import Words
from devstack.stack import Stack
from shared.routing import Lane
from shared.state import keys

REST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, what was found, and where to look when it does not."""

    claim: str
    held: bool
    found: str
    look: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """Checks a story that has been played, and the stack it was played on."""

    stack: Stack
    client: Client
    story: Story
    words: Words
    user_id: str
    rest_seconds: float = REST_SECONDS

    def checks(self) -> list[Check]:
        """Check everything; first waits, for a moment, until what was under way has come to rest."""
        self._wait_for_rest()
        quota = self.client.get("/quota")
        return [
            *self._tasks(),
            self._lanes(),
            *self._losses(),
            *self._rest(),
            *self._money(quota),
            *self._manners(),
        ]

    def _check(self, name: str, held: bool, found: str, look: str) -> Check:  # noqa: FBT001  # it is what a check is
        return Check(self.words(f"claim.{name}"), held, found, self.words(f"look.{look}"))

    def _wait_for_rest(self) -> None:
        """Return when nothing is queued, running or on its way; if it takes too long, the checks tell."""
        deadline = time.monotonic() + self.rest_seconds
        while time.monotonic() < deadline:
            if self.stack.gauges().is_empty and self.stack.qstash.state()["open"] == 0:
                return
            time.sleep(0.05)

    def _tasks(self) -> Iterator[Check]:
        words, tasks = self.words, self.story.board.tasks
        not_done = [
            f"{task.title}: {task.outcome} ({', '.join(task.lanes)})"
            for task in tasks
            if task.state != "done"
        ]
        found = "; ".join(not_done) or words("found.tasks", count=len(tasks))
        yield self._check("done", not not_done, found, "tasks")
        problems = [f"{task.title}: {problem}" for task in tasks for problem in task.problems]
        yield self._check("whole", not problems, "; ".join(problems) or words("found.no_gap"), "streams")
        streamed = [task for task in tasks if task.text]
        wrong = [task.title for task in streamed if task.text != self._stored_text(task.task_id)]
        count = sum(len(task.text) for task in streamed)
        found = ", ".join(wrong) or words("found.stored", count=len(streamed), characters=count)
        yield self._check("stored", bool(streamed) and not wrong, found, "streams")

    def _stored_text(self, task_id: str) -> str | None:
        result = self.client.get(f"/tasks/{task_id}").get("result") or {}
        text: str | None = result.get("text")
        return text

    def _lanes(self) -> Check:
        used = {lane for task in self.story.board.tasks for lane in task.lanes}
        missing = ", ".join(lane for lane in Lane if lane not in used)
        found = self.words("found.missing", lanes=missing) if missing else self.words("found.lanes")
        return self._check("lanes", not missing, found, "tasks")

    def _losses(self) -> Iterator[Check]:
        words, killed = self.words, self.story.outcomes.killed
        alone = [task.title for task in killed if task.attempt < 2 or not task.dropped_characters]
        dropped = sum(task.dropped_characters for task in killed)
        found = words("found.killed", count=len(killed), characters=dropped)
        if alone:
            found = words("found.not_again", titles=", ".join(alone))
        yield self._check("killed", bool(killed) and not alone, found, "kills")
        resumed = sum(task.resumed for task in self.story.board.tasks)
        found = words("found.resumed", count=resumed) if resumed else words("found.not_resumed")
        yield self._check("resumed", resumed > 0, found, "streams")

    def _rest(self) -> Iterator[Check]:
        words, gauges = self.words, self.stack.gauges()
        used = [f"{lane} {level.used}" for lane, level in gauges.places.items() if level.used]
        found = ", ".join(used) or words("found.queues", count=len(gauges.places))
        yield self._check("queues", not used, found, "rest")
        held = [f"{model}.{tier} {level.used}" for (model, tier), level in gauges.slots.items() if level.used]
        found = ", ".join(held) or words("found.slots", count=len(gauges.slots))
        yield self._check("slots", not held, found, "rest")
        with contextlib.closing(self.stack.open_store()) as store:
            active = store.command("SCARD", keys.active(self.user_id))
        found = words("found.pending", open=gauges.open_tasks, active=active)
        yield self._check("pending", gauges.open_tasks == 0 and active == 0, found, "rest")
        qstash = self.stack.qstash.state()
        found = words("found.broker", open=qstash["open"], dead=qstash["dlq_size"])
        yield self._check("broker", qstash["open"] == 0 and qstash["dlq_size"] == 0, found, "broker")
        running = sum(self.stack.llm.state["running"].values())
        yield self._check("calls", running == 0, words("found.calls", count=running), "tasks")

    def _money(self, quota: Mapping[str, Any]) -> Iterator[Check]:
        words, spent = self.words, self.story.outcomes.spent
        balance, ledger = quota["balance"], quota["ledger"]
        yield self._check("balance", balance == COINS - spent, f"{COINS} - {spent} = {balance}", "money")
        running, exact = 0, True
        for entry in ledger:
            running += entry["delta"]
            exact = exact and entry["balance"] == running
        found = words("found.ledger", count=len(ledger), sum=running)
        yield self._check("ledger", exact and running == balance, found, "money")
        paid = sorted(task.task_id for task in self.story.board.tasks if not task.is_free)
        debited = sorted(entry["taskId"] for entry in ledger if entry["kind"] == "debit")
        refunds = sum(entry["kind"] == "refund" for entry in ledger)
        found = words("found.debits", paid=len(paid), debits=len(debited), refunds=refunds)
        yield self._check("debits", paid == debited and not refunds, found, "money")

    def _manners(self) -> Iterator[Check]:
        words, outcomes = self.words, self.story.outcomes
        free = sum(task.is_free for task in self.story.board.tasks)
        found = "; ".join(outcomes.surprises) or words("found.tiers", count=free)
        yield self._check("tiers", not outcomes.surprises and free > 0, found, "admission")
        found = words("found.same") if outcomes.replayed else words("found.another")
        yield self._check("replay", outcomes.replayed, found, "admission")
        yield self._full_queue()

    def _full_queue(self) -> Check:
        refused, tries = self.story.outcomes.refused, self.story.outcomes.tries
        if refused is None:
            return self._check("full", False, self.words("found.accepted"), "admission")
        seconds = refused.retry_after_seconds
        found = self.words("found.full", error=refused.error, seconds=seconds, tries=tries)
        held = (
            refused.error == "queue_full" and bool(seconds) and tries > 0 and not self.story.board.turned_away
        )
        return self._check("full", held, found, "admission")
