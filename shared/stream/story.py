"""One task's whole story, in order, from its record, its events and its user's ledger.

Texts stay out of it: of a batch it says how much it was, of a result how long it took. Tokens between two
other events are told in one line, as they would be hundreds. Who shows it, a terminal or a page, is no
matter here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.quota import read_quota
from shared.state.replays import REPLAY_OF, REPLAYED_AS
from shared.state.store import Store
from shared.state.tasks import Tasks
from shared.stream.events import EventType

_PAGE_EVENTS = 1000
TOLD: Mapping[EventType, tuple[str, ...]] = {
    EventType.QUEUED: ("queueId", "step", "position", "etaSeconds"),
    EventType.START: ("attempt", "step", "templateId", "queueId"),
    EventType.BACKPRESSURE: ("reason", "retryAfter"),
    EventType.RETRYING: ("attempt", "reason", "retryAfter"),
    EventType.STEP_RESULT: ("step", "templateId"),
    EventType.RESYNC: ("step", "throughId"),
    EventType.DONE: ("attempt", "latencyMs", "textLength", "usage"),
    EventType.ERROR: ("attempt", "code", "message", "refunded"),
    EventType.CANCELLED: ("attempt", "refunded"),
}
"""What is told of each event; no field that holds a text of the user's or the model's."""
_HEAD = ("userId", "serviceId", "action", "tier", "state", "step", "attempt", "cost", "refunded")
_STATE = ("position", "etaSeconds", "overdue", "errorCode", "holder", REPLAY_OF, REPLAYED_AS)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to the task."""

    at_ms: int
    what: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """A task's record, without its texts, and what happened to it."""

    task_id: str
    record: Mapping[str, Any]
    moments: tuple[Moment, ...]
    whole: bool
    """False when the beginning of its stream was trimmed, or the stream is gone."""


@dataclass(slots=True)
class _Tokens:
    """Batches that came one after the other."""

    attempt: int
    at_ms: int
    batches: int = 0
    tokens: int = 0
    characters: int = 0
    thinking: int = 0

    def add(self, event: Mapping[str, Any]) -> None:
        self.batches += 1
        self.tokens += event["count"]
        self.characters += len(event["text"])
        self.thinking += bool(event.get("thinking"))

    def to_moment(self, until_ms: int) -> Moment:
        facts = {"attempt": self.attempt, "tokens": self.tokens, "batches": self.batches}
        facts |= {"characters": self.characters, "forMs": until_ms - self.at_ms}
        return Moment(self.at_ms, "text", facts | ({"thinking": self.thinking} if self.thinking else {}))


def read_story(store: Store, tasks: Tasks, task_id: str) -> Story | None:
    """Return a task's story; None when there is no such task (any more)."""
    record = tasks.read(task_id)
    if record is None:
        return None
    ref = TaskRef(task_id, record["serviceId"], record["userId"])
    events = list(_events(store, ref))
    told = [*_coins(store, ref), *_told(events)]
    return Story(
        task_id=task_id,
        record=_without_texts(record),
        moments=tuple(sorted(told, key=lambda moment: moment.at_ms)),
        whole=bool(events) and events[0]["type"] == EventType.QUEUED,
    )


def _without_texts(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: record.get(name) for name in _HEAD}
    kept |= {name: record.get(name) for name in _STATE}
    steps = json.loads(record["steps"])
    kept["steps"] = [f"{step['templateId']} in {step['queueId']} by {step['modelId']}" for step in steps]
    kept["usage"] = list(_used(record, len(steps))) or None
    return {
        name: value
        for name, value in kept.items()
        if value is not None and value is not False and value != ""
    }


def _used(record: Mapping[str, Any], steps: int) -> Iterator[str]:
    """Yield what each step that is done used, and what attempts of this one used that were given back."""
    for step in range(steps):
        name = "usage" if step == int(record["step"]) else f"usage:{step}"
        if usage := json.loads(record.get(name) or "{}"):
            yield f"step {step}: {_tokens(usage)}{_first_text(usage)}"
    if record.get("spent"):
        spent = json.loads(record["spent"])
        tokens = {
            "promptTokens": spent["in"],
            "cachedTokens": spent["cached"],
            "completionTokens": spent["out"],
        }
        cost = {"cost": spent["costMicros"] / 1_000_000, "currency": spent["currency"]}
        if spent["currency"]:
            yield f"step {record['step']}, attempts that were repeated: {_tokens({**tokens, **cost})}"


def _tokens(usage: Mapping[str, Any]) -> str:
    cached = usage.get("cachedTokens")
    return (
        f"{usage.get('promptTokens', 0)} tokens in{f' ({cached} cached)' if cached else ''}, "
        f"{usage.get('completionTokens', 0)} out, {usage.get('cost', 0):g} {usage.get('currency', '')}"
    )


def _first_text(usage: Mapping[str, Any]) -> str:
    return f", first text after {usage['ttftMs']} ms" if usage.get("ttftMs") is not None else ""


def _events(store: Store, ref: TaskRef) -> Iterator[dict[str, Any]]:
    key, after = keys.events(ref.user_id, ref.service_id, ref.task_id), "-"
    while page := store.command("XRANGE", key, after, "+", "COUNT", _PAGE_EVENTS):
        for _, fields in page:
            yield json.loads(fields[1])
        after = f"({page[-1][0]}"


def _coins(store: Store, ref: TaskRef) -> Iterator[Moment]:
    for entry in read_quota(store, ref.user_id, initial=0).ledger:
        if entry.get("taskId") == ref.task_id:
            yield Moment(entry["at"], entry["kind"], {"coins": entry["delta"], "balance": entry["balance"]})


def _told(events: list[dict[str, Any]]) -> Iterator[Moment]:
    tokens: _Tokens | None = None
    for event in events:
        if event["type"] == EventType.TOKEN_BATCH:
            tokens = tokens or _Tokens(event["attempt"], event["at"])
            tokens.add(event)
            continue
        if tokens is not None:
            yield tokens.to_moment(event["at"])
            tokens = None
        facts = {name: event[name] for name in TOLD[EventType(event["type"])] if event.get(name) is not None}
        yield Moment(event["at"], event["type"], facts)
    if tokens is not None:
        yield tokens.to_moment(events[-1]["at"])
