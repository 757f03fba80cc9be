"""The real functions under traffic, with a lane that is killed: nothing differs, at any moment, and nothing in the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.frontend import JOB, RESUME, Frontend, advertisement, assert_at_rest, until
from devstack.stack import Stack
from shared.config import load_reconciliation
from shared.routing import Lane
from shared.state.reconciliation import Report, reconcile
from shared.state.store import Store

OVERRIDES = {
    "LEASE_SECONDS": "1",
    "WORKER_TIMEOUT_SECONDS": "20",
    "MAX_WAIT_SECONDS_STREAM": "25",
    "MAX_WAIT_SECONDS_BATCH": "25",
    "DEEPSEEK_MAX_WORKERS": "3",
}
PEOPLE = 4
TASKS_EACH = 3


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(
        overrides=OVERRIDES,
        build_folder=tmp_path,
        first_token_ms=50,
        tokens_per_second=600,
        qstash_time_scale=0.1,
    ) as running:
        yield running


def compare(stack: Stack, store: Store, *, repair: bool = False) -> Report:
    settings = load_reconciliation({"REDIS_URL": stack.redis_url, **OVERRIDES})
    return reconcile(
        store,
        concurrency=settings.concurrency,
        time=settings.time,
        stream=settings.stream,
        repair=repair,
    )


def use(stack: Stack, number: int) -> list[str]:
    """Be somebody who sends résumés, advertisements and pictures, and cancels every third task; return the ends."""
    someone, ends = Frontend(stack, f"person-{number}"), []
    someone.with_resume()
    for turn in range(TASKS_EACH):
        if turn == 2:
            accepted = someone.act("create-service", {"jobImage": advertisement(), "locale": "en"})
        elif turn % 2:
            accepted = someone.act("upload-detailed-resume", {"text": RESUME, "locale": "en"})
        else:
            accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
        if (number + turn) % 3 == 0:
            someone.post(f"/tasks/{accepted['taskId']}/cancel")
        ends.append(someone.outcome(accepted)["state"])
    return ends


def test_a_stack_under_traffic_never_differs_from_its_records(stack: Stack) -> None:
    reports: list[Report] = []
    stop = threading.Event()

    def keep_comparing() -> None:
        with contextlib.closing(stack.open_store()) as store:
            while not stop.is_set():
                reports.append(compare(stack, store, repair=len(reports) % 2 == 1))

    with ThreadPoolExecutor(PEOPLE + 1) as pool:
        comparing = pool.submit(keep_comparing)
        people = [pool.submit(use, stack, number) for number in range(PEOPLE)]
        until(lambda: True if stack.gauges().places[Lane.PAID_STREAM].used else None, "something to kill")
        stack.kill("paid_stream")
        stack.restart("paid_stream")
        try:
            ends = [end for person in people for end in person.result()]
        finally:
            stop.set()
        comparing.result()

    assert len(ends) == PEOPLE * TASKS_EACH
    assert [difference.what for report in reports for difference in report.differences] == []
    assert len(reports) > 1
    assert_at_rest(stack)
    with contextlib.closing(stack.open_store()) as store:
        last = compare(stack, store)
    assert last.is_clean
    assert last.checked["task"] == PEOPLE * (TASKS_EACH + 1)
