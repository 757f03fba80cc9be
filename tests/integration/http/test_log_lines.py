"""What the functions say while they work: which lines, with which facts, and how few of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import PermanentTaskError, RetryableTaskError
from shared.log_events import BOUND, ERROR_FACT, LogEvent
from shared.settings import LogFormat, LogSettings
from tests.integration.http.kit import JOB, World, data_url
from tests.integration.http.stand_ins import Fault, failing
from tests.logs_kit import Log, logging_to
from tests.telemetry_kit import remembering

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
KNOWN = {what.event: {*what.facts, *BOUND, ERROR_FACT} for what in LogEvent}
EVERY_LINE = {
    "severity", "level", "time", "timestamp", "message", "event", "hint", "reason", "requestId", "logger", "stack_trace",
    "logging.googleapis.com/trace", "logging.googleapis.com/spanId", "logging.googleapis.com/labels",
}  # fmt: skip


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged, each line of it held to the register."""
    with logging_to(Log()) as out:
        yield out
    for line in out.lines():
        assert line.keys() - EVERY_LINE <= KNOWN[line["event"]], line


def events(log: Log, task_id: str) -> list[str]:
    return [line["event"] for line in log.lines() if line.get("task") == task_id]


def start(world: World, action: str = "upload-resume", body: Any = None) -> tuple[str, Any]:
    accepted, publish = world.start(action, body, traceparent=TRACEPARENT)
    return accepted["taskId"], publish


def test_a_structured_task_is_three_lines_that_say_how_long_each_part_took(world: World, log: Log) -> None:
    task_id, publish = start(world)
    world.finish(publish)
    assert events(log, task_id) == ["task_admitted", "step_claimed", "step_finished"]
    admitted, claimed, finished = log.lines()
    assert {"action", "lane", "tier", "steps", "admit_ms", "publish_ms"} <= admitted.keys()
    assert {"lane", "step", "attempt", "template", "model", "waited_ms", "claim_ms"} <= claimed.keys()
    assert {"attempt", "decision", "run_ms", "finish_ms", "tokens_in", "tokens_out"} <= finished.keys()
    assert {line["trace"] for line in log.lines()} == {TRACE}


def test_a_streamed_task_also_says_when_its_first_words_were_there(world: World) -> None:
    world.with_resume()
    with logging_to(Log()) as log:
        task_id, publish = start(world, "create-service", {"jobText": JOB})
        world.finish(publish)
    assert events(log, task_id) == ["task_admitted", "step_claimed", "first_token", "step_finished"]
    (first,) = log.told("first_token")
    assert (first["lane"], first["attempt"], first["trace"]) == ("paid_stream", 1, TRACE)
    assert first["stored_ms"] >= 0


def test_a_task_of_two_steps_is_two_lines_of_actions_and_three_of_a_lane_at_most(world: World) -> None:
    world.with_resume()
    with logging_to(Log()) as log:
        task_id, vision = start(world, "create-service", {"jobImage": data_url()})
        world.finish(vision)
        world.report("step", vision)
        world.finish(world.qstash.published[-1])
    assert events(log, task_id) == [
        *("task_admitted", "step_claimed", "step_finished"),
        *("step_published", "step_claimed", "first_token", "step_finished"),
    ]


def test_where_spans_are_told_a_tasks_lines_carry_their_trace_also_without_a_callers(world: World) -> None:
    with remembering() as memory, logging_to(Log()) as log:
        world.finish(world.start()[1])
    (trace,) = {span.context.trace_id for span in memory.spans if span.context}
    assert {line["trace"] for line in log.lines()} == {f"{trace:032x}"}


def test_an_attempt_that_will_be_repeated_says_why_and_what_to_do(world: World, log: Log) -> None:
    task_id, publish = start(world)
    world.model.acts.append(failing(RetryableTaskError("timeout", "The attempt ran for too long.")))
    world.deliver(publish)
    assert events(log, task_id) == ["task_admitted", "step_claimed", "attempt_released"]
    line = log.lines()[-1]
    assert (line["severity"], line["error"], line["decision"]) == ("WARNING", "timeout", "retrying")
    assert (line["reason"], line["attempt"]) == ("The attempt ran for too long.", 1)
    assert "stack_trace" not in line  # an error that was expected has none
    assert {"hint", "run_ms", "retry_after_seconds"} <= line.keys()


def test_an_attempt_that_failed_for_good_says_so_once(world: World, log: Log) -> None:
    task_id, publish = start(world)
    world.model.acts.append(failing(PermanentTaskError("provider_refused", "It refused.")))
    world.deliver(publish)
    assert events(log, task_id) == ["task_admitted", "step_claimed", "attempt_failed"]


def test_an_error_that_nobody_expected_is_told_with_its_stack_and_without_its_text(
    world: World, log: Log
) -> None:
    task_id, publish = start(world)
    world.model.acts.append(failing(ValueError("what a user wrote")))
    world.deliver(publish)
    assert events(log, task_id) == ["task_admitted", "step_claimed", "attempt_broke"]
    line = log.lines()[-1]
    assert (line["severity"], line["error"]) == ("ERROR", "ValueError")
    assert line["stack_trace"].endswith("ValueError")
    assert "what a user wrote" not in log.getvalue()


def test_an_attempt_that_was_cancelled_is_superseded(world: World, log: Log) -> None:
    task_id, publish = start(world)

    def cancelled(_running: Any) -> Any:
        world.cancel(task_id)
        raise RetryableTaskError("timeout", "The attempt ran for too long.")

    world.model.acts.append(cancelled)
    world.deliver(publish)
    assert events(log, task_id) == ["task_admitted", "step_claimed", "task_cancelled", "attempt_superseded"]


def test_a_delivery_that_gets_no_attempt_says_why(world: World, log: Log) -> None:
    task_id, publish = start(world)
    world.finish(publish)
    world.deliver(publish)
    (line,) = log.told("claim_refused")
    assert (line["task"], line["decision"], line["severity"]) == (task_id, "duplicate", "INFO")


def test_a_request_on_lambda_is_called_by_its_invocations_id(world: World, log: Log) -> None:
    request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    _, publish = start(world)
    world.deliver(publish, **{"x-amzn-request-context": f'{{"accountId": "1", "requestId": "{request_id}"}}'})
    world.deliver(publish, **{"x-amzn-request-context": '{"requestId": "what a stranger wrote"}'})
    assert [line.get("requestId") for line in log.lines()[1:]] == [request_id, request_id, None]


def test_a_publish_that_fails_is_told_try_by_try_and_once_for_the_task(world: World, log: Log) -> None:
    world.qstash.faults.extend([Fault(500), Fault(500)])
    assert world.ask("upload-resume", {"text": "A résumé."}).status_code == 503
    first, second, failed = log.lines()
    assert [line["event"] for line in (first, second, failed)] == [
        "publish_try_failed",
        "publish_try_failed",
        "publish_failed",
    ]
    assert (first["error"], first["tries"], second["tries"]) == ("status_500", 1, 2)
    assert len({line["task"] for line in (first, second, failed)}) == 1
    assert failed["severity"] == "ERROR"


def test_a_refused_admission_names_its_lane_and_its_action(redis_url: str, tmp_path: Path) -> None:
    with World(redis_url, tmp_path, {"QUEUE_MAX_PAID_BATCH": "1"}) as world, logging_to(Log()) as log:
        world.start()
        world.ask("upload-resume", {"text": "Another."}, user="grace")
    (line,) = log.told("admission_refused")
    assert (line["error"], line["lane"], line["action"]) == ("queue_full", "paid_batch", "upload-resume")
    assert line["status"] == 429
    assert line["retry_after_seconds"] >= 1


def test_what_a_caller_did_wrong_is_told_at_debug_only(world: World) -> None:
    for level, told in (("INFO", 0), ("DEBUG", 1)):
        with logging_to(Log(), LogSettings(level, LogFormat.JSON)) as log:
            world.ask("upload-resume", {"text": ""})
        lines = log.told("request_refused")
        assert len(lines) == told
        assert all("reason" not in line for line in lines)  # the answer's text may name what was sent


def test_a_failure_callback_says_what_it_decided(world: World, log: Log) -> None:
    task_id, publish = start(world)
    world.report("failure", publish, status=429)
    (line,) = log.told("callback_decided")
    assert (line["task"], line["callback"], line["decision"]) == (task_id, "failure", "publish")
    assert line["delivery_status"] == 429
    (published,) = log.told("step_published")
    assert (published["task"], published["n"]) == (task_id, 2)


def test_a_sweep_says_its_sums_when_there_was_something_to_do(world: World, log: Log) -> None:
    world.call_back("sweep")
    assert log.lines() == []
    task_id, _ = start(world)
    world.make_overdue(task_id)
    world.call_back("sweep")
    swept, sums = log.told("task_swept", "swept")
    assert (swept["task"], swept["outcome"]) == (task_id, "lost")
    assert (sums["ended"], sums["published"]) == (1, 0)
