"""What must hold after a task, whatever was done to it: one outcome, exact text, exact money, nothing held.

The verdict reads what users can read (the status, the ledger, the streams that readers saw) and, beside
that, what Redis stores.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from devstack.frontend import Frontend, Reader, text_of, until
from devstack.reliability.tally import Problem
from devstack.stack import Stack
from shared.state import keys

TERMINAL = frozenset({"done", "error", "cancelled"})
_STATE_OF = {"done": "done", "error": "failed", "cancelled": "cancelled"}
REST_SECONDS = 20.0
RESUMING_READERS = 8


def examine(
    someone: Frontend,
    accepted: dict[str, Any],
    *,
    ends: str = "done",
    code: str | None = None,
    said: str | None = None,
    readers: Sequence[Reader] = (),
    resume_everywhere: bool = False,
) -> list[Problem]:
    """Return what is wrong with a task that has ended, or is about to.

    Args:
        someone: its owner.
        accepted: what the action answered.
        ends: the type of its terminal event.
        code: the error's code, for `ends="error"`.
        said: the text that the model said, for a task that streams.
        readers: whoever reads its events; they are waited for.
        resume_everywhere: whether to read the stream again from each of its events.
    """
    status = someone.outcome(accepted)
    stored = stored_events(someone, accepted)
    problems = [
        *_outcome(status, stored, ends, code),
        *_starts(stored),
        *_money(someone, accepted, status, ends),
    ]
    for reader in readers:
        problems += _reading(reader.wait().all, said, ends)
    if said is not None:
        problems += _text("the record", (status.get("result") or {}).get("text"), said)
    if resume_everywhere:
        problems += _resumes(accepted["streamUrl"], said, ends)
    return [Problem(p.kind, f"{accepted['taskId'][:8]}: {p.text}") for p in problems]


def at_rest(stack: Stack, seconds: float = REST_SECONDS) -> list[Problem]:
    """Wait until nothing is queued, running or on its way; return what stayed, and what differs."""
    try:
        until(lambda: True if stack.gauges().is_empty else None, "rest", seconds)
        until(lambda: None if stack.llm.state["running"] else True, "the last model call", seconds)
    except AssertionError:
        left = stack.gauges().to_json() | {"models": stack.llm.state["running"]}
        return [Problem("lost", f"never came back: {left}")]
    return [Problem("wrong", f"{each.kind}: {each.what}") for each in stack.reconcile().differences]


def stored_events(someone: Frontend, accepted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a task's events as Redis has them."""
    key = keys.events(someone.user, accepted["serviceId"], accepted["taskId"])
    with contextlib.closing(someone.stack.open_store()) as store:
        return [json.loads(fields[1]) for _, fields in store.command("XRANGE", key, "-", "+")]


def _outcome(
    status: dict[str, Any], stored: list[dict[str, Any]], ends: str, code: str | None
) -> Iterator[Problem]:
    if status["state"] != _STATE_OF[ends]:
        yield Problem("wrong", f"ended {status['state']} {status.get('error')}, not {ends}")
    elif code is not None and (status.get("error") or {}).get("code") != code:
        yield Problem("wrong", f"failed with {status.get('error')}, not {code}")
    terminals = [event["type"] for event in stored if event["type"] in TERMINAL]
    if not terminals:
        yield Problem("lost", "no terminal event")
    elif len(terminals) > 1:
        yield Problem("doubled", f"terminal events: {terminals}")
    elif stored[-1]["type"] != terminals[0]:
        yield Problem("wrong", f"{stored[-1]['type']} after {terminals[0]}")


def _starts(stored: list[dict[str, Any]]) -> Iterator[Problem]:
    starts = Counter((event["step"], event["attempt"]) for event in stored if event["type"] == "start")
    for (step, attempt), count in starts.items():
        if count > 1:
            yield Problem("doubled", f"step {step}, attempt {attempt} started {count} times")


def _money(
    someone: Frontend, accepted: dict[str, Any], status: dict[str, Any], ends: str
) -> Iterator[Problem]:
    ledger = someone.get("/quota").json()["ledger"]
    kinds = Counter(line["kind"] for line in ledger if line.get("taskId") == accepted["taskId"])
    paid = 0 if accepted["isFree"] else 1
    refunds = paid if ends != "done" else 0
    for kind, expected in (("debit", paid), ("refund", refunds)):
        if kinds[kind] != expected:
            yield Problem(
                "lost" if kinds[kind] < expected else "doubled", f"{kinds[kind]} of {expected} {kind}s"
            )
    if status["refunded"] != bool(refunds):
        yield Problem("wrong", f"the status says refunded: {status['refunded']}")
    if sum(line["delta"] for line in ledger) != someone.get("/quota").json()["balance"]:
        yield Problem("wrong", "the ledger does not add up to the balance")


def _reading(events: list[dict[str, Any]], said: str | None, ends: str) -> Iterator[Problem]:
    terminals = [event["type"] for event in events if event["type"] in TERMINAL]
    if terminals != [ends]:
        yield Problem("doubled" if len(terminals) > 1 else "lost", f"a reader saw the ends {terminals}")
    if said is not None:
        try:
            yield from _text("a reader", text_of(events), said)
        except AssertionError as error:
            yield Problem("lost", f"a reader: {error}")


def _text(who: str, text: str | None, said: str) -> Iterator[Problem]:
    if text != said:
        shorter = text is None or len(text) < len(said)
        yield Problem("lost" if shorter else "doubled", f"{who} has {text!r} of {said!r}")


def _resumes(stream_url: str, said: str | None, ends: str) -> Iterator[Problem]:
    """Read the stream again from each of its events: what came before and what comes then are the whole."""
    whole = Reader(stream_url).wait()
    places = range(len(whole.events) - 1)
    with ThreadPoolExecutor(RESUMING_READERS) as pool:
        resumed = pool.map(lambda place: _read_from(stream_url, whole.events[place][0]), places)
        for place, rest in zip(places, resumed, strict=True):
            yield from _reading(whole.all[: place + 1] + rest, said, ends)


def _read_from(stream_url: str, event_id: str) -> list[dict[str, Any]]:
    return Reader(stream_url, last_event_id=event_id).wait().all
