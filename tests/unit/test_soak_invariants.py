"""Each invariant of a soak finds what it is there to find, and nothing in a run where all went well."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from devstack.llm.transcript import Call
from devstack.soak.book import Answered, Taken
from devstack.soak.evidence import Account, Evidence, Leftovers
from devstack.soak.logs import check_logs
from devstack.soak.plan import ReaderPlan
from devstack.soak.reading import SoakReader
from devstack.soak.rest import Unrest
from devstack.soak.run import check
from devstack.soak.texts import fold
from devstack.soak.watch import Seen
from shared.config import get_concurrency_config
from shared.routing import Lane, Model, Tier

TEXT = "score: 70\n## Overall ⟨3⟩\nYou fit. ⟨3⟩"
LIMITS = get_concurrency_config({"DEEPSEEK_MAX_WORKERS": "3", "QUEUE_MAX_SIZE": "8"})


def _event(event_type: str, **facts: Any) -> dict[str, Any]:
    return {"type": event_type, "taskId": "t1", "attempt": 1, "at": 5, **facts}


def _streamed() -> list[tuple[str, dict[str, Any]]]:
    return [
        ("1-0", _event("queued", step=0)),
        ("2-0", _event("start", step=0)),
        ("2-1", _event("token_batch", step=0, text=TEXT[:9], offset=0)),
        ("2-2", _event("token_batch", step=0, text=TEXT[9:], offset=9)),
        ("3-0", _event("done", result={"text": TEXT})),
    ]


def _reader(frames: list[tuple[str, dict[str, Any]]]) -> SoakReader:
    reader = SoakReader("http://127.0.0.1/", ReaderPlan(0.0), threading.Event())
    reader.frames, reader.connections, reader.end = frames, 1, "done"
    return reader


def _evidence() -> Evidence:
    record = {"taskId": "t1", "userId": "ann", "state": "done", "step": "0", "cost": "2", "refunded": "0"}
    call = Call(3, "dev-deepseek-key", "deepseek-reasoner", "job_match", frozenset({"ref-1"}), 1.0, 4.0)
    call.note([("content", TEXT)])
    call.finished = True
    return Evidence(
        initial_quota=8,
        max_attempts=4,
        limits=LIMITS,
        user_cap=3,
        taken=[
            Taken("ann", "t1", "s1", "match", is_free=False, label="ref-1", readers=[_reader(_streamed())])
        ],
        answers=[Answered("ann", "match", 202), Answered("ann", "match", 429, "user_busy", 5, "5")],
        under_key={("ann", "k"): ["t1"]},
        records={"t1": record | {"result": json.dumps({"text": TEXT})}},
        events={"t1": _streamed()},
        accounts={
            "ann": Account(
                6,
                [
                    {"kind": "grant", "delta": 8, "balance": 8},
                    {"kind": "debit", "delta": -2, "balance": 6, "taskId": "t1"},
                ],
            )
        },
        calls=[call],
        quiet_connections={"Redis": 2},
        seen=Seen(
            samples=1, leases={(Model.DEEPSEEK_CHAT, Tier.PAID): 3}, places={Lane.PAID_STREAM: 8}, active=3
        ),
        leftovers=Leftovers(dict.fromkeys(Lane, 0), 0, 0, 0, 0, Unrest(0, 0, 0, 0), {"Redis": 2}, 1),
    )


def _broken(evidence: Evidence) -> dict[str, str]:
    return {f.claim: str(f.problems[0]) for f in check(evidence) if not f.held}


def _record(evidence: Evidence, **fields: str) -> None:
    evidence.records = {"t1": {**evidence.records["t1"], **fields}}


def _frames(evidence: Evidence, frames: list[tuple[str, dict[str, Any]]]) -> None:
    evidence.taken[0].readers[:] = [_reader(frames)]


def _ledger(evidence: Evidence, *lines: dict[str, Any], balance: int = 6) -> None:
    evidence.accounts = {"ann": Account(balance, [*evidence.accounts["ann"].ledger, *lines])}


def _answer(evidence: Evidence, answered: Answered) -> None:
    evidence.answers = [*evidence.answers, answered]


def _leave(evidence: Evidence, **facts: Any) -> None:
    assert evidence.leftovers is not None
    evidence.leftovers = replace(evidence.leftovers, **facts)


def test_a_run_in_which_all_went_well_breaks_nothing() -> None:
    assert _broken(_evidence()) == {}


ONE_OUTCOME = "each accepted task has one outcome"
ONE_END = "all readers saw that one end"
ONE_CALL = "a text is what the model said in one call"
LEDGER = "ledger = balance, line by line"
DEBITS = "a paid task is debited once, refunded iff not done"
REFUSALS = "a refusal says when to come back"
NOTHING_LEFT = "no call, no message, no reader is left"
REFUND = {"kind": "refund", "delta": 2, "balance": 8, "taskId": "t1"}

BREAKAGES: list[tuple[str, Callable[[Evidence], Any]]] = [
    (ONE_OUTCOME, lambda e: setattr(e, "records", {})),
    (ONE_OUTCOME, lambda e: _record(e, state="running")),
    (ONE_OUTCOME, lambda e: setattr(e, "events", {"t1": _streamed()[:-1]})),
    (ONE_OUTCOME, lambda e: setattr(e, "events", {"t1": [*_streamed(), ("4-0", _event("done"))]})),
    (ONE_OUTCOME, lambda e: setattr(e, "events", {"t1": [*_streamed(), ("4-0", _event("retrying"))]})),
    (
        "no attempt ran twice, none too many",
        lambda e: e.events["t1"].insert(2, ("2-0", _event("start", step=0))),
    ),
    (
        "no attempt ran twice, none too many",
        lambda e: e.events["t1"].insert(2, ("2-0", _event("start", step=0) | {"attempt": 5})),
    ),
    (ONE_END, lambda e: _frames(e, _streamed()[:-1])),
    (ONE_END, lambda e: _frames(e, [*_streamed(), ("4-0", _event("done"))])),
    (ONE_END, lambda e: _frames(e, [*_streamed()[:1], *_streamed()])),
    (ONE_END, lambda e: _frames(e, [*_streamed()[:-1], ("3-0", _event("cancelled"))])),
    ("every reader saw that text", lambda e: _frames(e, [*_streamed()[:3], *_streamed()[4:]])),
    ("every reader saw that text", lambda e: _frames(e, [*_streamed()[:2], *_streamed()[3:]])),
    (ONE_CALL, lambda e: setattr(e, "calls", [])),
    (ONE_CALL, lambda e: e.calls[0].pieces.append("more")),
    (ONE_CALL, lambda e: setattr(e.calls[0], "finished", False)),
    (ONE_CALL, lambda e: setattr(e.calls[0], "labels", frozenset({"ref-2"}))),
    (ONE_CALL, lambda e: _record(e, result=json.dumps({"text": TEXT.replace("fit. ⟨3⟩", "fit. ⟨4⟩")}))),
    ("an idempotency key leads to one task", lambda e: setattr(e, "under_key", {("ann", "k"): ["t1", "t2"]})),
    (REFUSALS, lambda e: _answer(e, Answered("ann", "match", 503, "store_unavailable"))),
    (REFUSALS, lambda e: _answer(e, Answered("ann", "match", 429, "queue_full", 5, None))),
    (REFUSALS, lambda e: _answer(e, Answered("ann", "match", 500, "internal", 5, "5"))),
    (LEDGER, lambda e: _ledger(e, balance=7)),
    (LEDGER, lambda e: _ledger(e, {"kind": "refund", "delta": 2, "balance": 7, "taskId": "t1"}, balance=8)),
    (DEBITS, lambda e: _ledger(e, REFUND, balance=8)),
    (DEBITS, lambda e: setattr(e, "accounts", {"ann": Account(8, e.accounts["ann"].ledger[:1])})),
    (DEBITS, lambda e: _record(e, refunded="1")),
    (DEBITS, lambda e: _ledger(e, {"kind": "debit", "delta": -1, "balance": 5, "taskId": "t9"}, balance=5)),
    ("balance = first grant - what was done", lambda e: setattr(e, "initial_quota", 9)),
    ("leases never exceed the slots", lambda e: e.seen.leases.update({(Model.DEEPSEEK_CHAT, Tier.PAID): 4})),
    ("queues never exceed their places", lambda e: e.seen.places.update({Lane.PAID_STREAM: 9})),
    ("queues never exceed their places", lambda e: setattr(e.seen, "active", 4)),
    (
        "the providers saw no more calls than slots",
        lambda e: setattr(e, "calls", [*e.calls, *(replace(e.calls[0], number=9) for _ in range(3))]),
    ),
    ("all sets are empty", lambda e: _leave(e, places={Lane.FREE_BATCH: 1})),
    ("all sets are empty", lambda e: _leave(e, live_leases=1)),
    ("all sets are empty", lambda e: _leave(e, open_tasks=1)),
    ("all sets are empty", lambda e: _leave(e, active=1)),
    (NOTHING_LEFT, lambda e: _leave(e, unrest=Unrest(0, 1, 0, 0))),
    (NOTHING_LEFT, lambda e: _leave(e, connections={"events": 1})),
    (NOTHING_LEFT, lambda e: _leave(e, blocked_clients=2)),
]


@pytest.mark.parametrize(("claim", "break_it"), BREAKAGES)
def test_an_invariant_that_is_broken_is_found(claim: str, break_it: Callable[[Evidence], Any]) -> None:
    evidence = _evidence()
    break_it(evidence)
    assert claim in _broken(evidence)


def test_a_deleted_users_tasks_may_be_gone_but_their_readers_must_have_come_to_an_end() -> None:
    evidence = _evidence()
    evidence.taken[0].erased = True
    evidence.records, evidence.events = {}, {}
    evidence.accounts = {"ann": Account(6, [{"kind": "grant", "delta": 6, "balance": 6}])}
    _frames(evidence, _streamed()[:3])
    assert _broken(evidence) == {}
    evidence.taken[0].readers[0].end = None
    assert set(_broken(evidence)) == {ONE_END}


def test_a_key_may_lead_to_a_second_task_when_the_first_was_never_handed_over() -> None:
    """D21: the key of a task that could not be published is free again."""
    evidence = _evidence()
    evidence.under_key = {("ann", "k"): ["t0", "t1"]}
    unpublished = {
        "userId": "ann",
        "state": "failed",
        "errorCode": "publish_failed",
        "cost": "0",
        "refunded": "0",
    }
    evidence.records = {**evidence.records, "t0": unpublished}
    evidence.events = {**evidence.events, "t0": [("1-0", _event("error"))]}
    assert _broken(evidence) == {}


def test_a_new_attempt_and_a_resync_replace_the_text_that_a_page_shows() -> None:
    frames = [*_streamed()[:3], ("5-0", _event("start", step=0)), ("5-1", _event("resync", text="new"))]
    assert fold(frames) == ("new", None)


def _line(event: str, severity: str) -> str:
    return f'{{"severity": "{severity}", "event": "{event}"}}\n'


def test_an_error_in_a_log_is_found_and_a_publish_that_failed_is_none() -> None:
    known = _line("step_claimed", "INFO") + _line("task_swept", "WARNING") + _line("publish_failed", "ERROR")
    assert check_logs({"actions": known}).held
    found = check_logs({"actions": known, "events": _line("reading_failed", "ERROR")})
    assert [str(problem) for problem in found.problems] == [
        f"events: {_line('reading_failed', 'ERROR').strip()}"
    ]


def test_a_line_that_is_no_json_is_an_error_that_nobody_knows() -> None:
    assert not check_logs({"actions": "Fatal Python error: Segmentation fault\n"}).held
