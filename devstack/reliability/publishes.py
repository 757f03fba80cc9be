"""A publish whose outcome `actions` does not learn, or learns wrongly, though QStash has the message."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from devstack.frontend import Frontend, until
from devstack.reliability.messages import faults
from devstack.reliability.tally import Problem, Tally
from devstack.reliability.traffic import (
    TEXT,
    UPLOAD,
    ModelCalls,
    find,
    payer,
    published,
    slowly,
    start,
    unanswered,
)
from devstack.reliability.trials import Effort
from devstack.stack import Stack


def unknown_publish(stack: Stack, tally: Tally, effort: Effort) -> None:
    """QStash takes the message and says 500 both times: refused, given back; the message does nothing."""
    for _ in range(effort.rounds):
        someone, calls = payer(stack), ModelCalls(stack)
        with faults(stack, hold_to="/paid/", publish_status=500, publish_status_accepts=True):
            refused = someone.post("/actions/upload-resume", UPLOAD.body)
        tally.faults += 1
        if refused.json().get("error") != "publish_failed":
            tally.ran([Problem("wrong", refused.text)], runs=0)
        job = find(someone, someone.get("/resume").json()["tasks"]["upload-resume"], UPLOAD)
        calls.close(tally, expected=0)
        tally.ran([*job.verdict(ends="error", code="publish_failed"), *published(stack, job, 1)])
        if effort.thorough:
            _refused_in_mid_run(stack, tally)


def _refused_in_mid_run(stack: Stack, tally: Tally) -> None:
    """No answer, both times: the message runs already when its user is told that there is none."""
    calls = ModelCalls(stack)
    silent = {"publish_status_accepts": True, "publish_status": "hang"}
    with slowly(stack, 5), faults(stack, **silent), ThreadPoolExecutor() as pool:
        job = unanswered(pool, payer(stack), TEXT)
        job.reader.wait_for("token_batch")
        job.reader.wait()
    tally.faults += 1
    calls.close(tally, expected=1)
    tally.ran([*job.verdict(ends="error", code="publish_failed"), *published(stack, job, 1)])


def half_known_publish(stack: Stack, tally: Tally, effort: Effort) -> None:
    """QStash takes the message and fails or falls silent once: the repeat carries the same id."""
    for answer in (500, "hang") * effort.rounds:
        calls = ModelCalls(stack)
        switches = {"publish_status_accepts": True, "publish_status_times": 1, "publish_status": answer}
        with faults(stack, **switches):
            job = start(payer(stack), TEXT)
        tally.faults += 1
        calls.judge(tally, job)
        tally.ran(published(stack, job, 1), runs=0)


def repeated_publish(stack: Stack, tally: Tally, effort: Effort) -> None:
    """The page asks again under its key while the first request still hangs at QStash, which has it."""
    for _ in range(effort.rounds):
        someone, calls, key = payer(stack), ModelCalls(stack), uuid.uuid4().hex

        def ask(_: object = None, someone: Frontend = someone, key: str = key) -> dict[str, Any]:
            answer = someone.post("/actions/upload-resume", UPLOAD.body, Idempotency_Key=key)
            return {"status": answer.status_code, **answer.json()}

        switches = {"publish_status_accepts": True, "publish_status_times": 1, "publish_status": "hang"}
        with faults(stack, hold_to="/paid/", **switches), ThreadPoolExecutor() as pool:
            first = pool.submit(ask)
            until(lambda: True if stack.qstash.faults.publish_status is None else None, "the first publish")
            answers = [*pool.map(ask, range(3)), first.result()]
        tally.faults += 1
        if len({(answer["status"], answer.get("taskId")) for answer in answers}) > 1:
            tally.ran([Problem("wrong", f"answered differently: {answers}")], runs=0)
        job = find(someone, answers[0]["taskId"], UPLOAD)
        calls.judge(tally, job)
        tally.ran(published(stack, job, 1), runs=0)
