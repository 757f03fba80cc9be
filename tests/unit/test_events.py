"""The events' JSON, as browsers have it."""

from __future__ import annotations

import json

import pytest

from shared.routing import Lane, Template
from shared.stream.events import (
    MODELS,
    TERMINAL,
    Backpressure,
    Cancelled,
    Done,
    Error,
    Event,
    EventType,
    Queued,
    Resync,
    Retrying,
    Stalled,
    Start,
    StepResult,
    Thinking,
    TokenBatch,
    decode,
    encode,
)

HEAD = '"taskId":"t1","attempt":2,"at":1700000000000'
GOLDEN: list[tuple[Event, str]] = [
    (
        Queued(queue_id=Lane.PAID_STREAM, step=0, position=3, eta_seconds=None),
        '{"type":"queued",HEAD,"queueId":"paid_stream","step":0,"position":3,"etaSeconds":null}',
    ),
    (
        Start(step=1, template_id=Template.JOB_MATCH, queue_id=Lane.FREE_STREAM),
        '{"type":"start",HEAD,"step":1,"templateId":"job_match","queueId":"free_stream"}',
    ),
    (
        TokenBatch(step=0, text="简历\n🚀", offset=7, count=2),
        '{"type":"token_batch",HEAD,"step":0,"text":"简历\\n🚀","offset":7,"count":2}',
    ),
    (
        Thinking(step=0, offset=0),
        '{"type":"token_batch",HEAD,"step":0,"text":"","offset":0,"count":0,"thinking":true}',
    ),
    (
        Backpressure(reason="no_slot", retry_after=4),
        '{"type":"backpressure",HEAD,"reason":"no_slot","retryAfter":4}',
    ),
    (
        Retrying(reason="provider_error", retry_after=2),
        '{"type":"retrying",HEAD,"reason":"provider_error","retryAfter":2}',
    ),
    (
        StepResult(step=0, template_id=Template.JOB_VISION_SUMMARY, data={"jobTitle": "SRE"}),
        '{"type":"step_result",HEAD,"step":0,"templateId":"job_vision_summary","data":{"jobTitle":"SRE"}}',
    ),
    (
        Resync(step=0, text="score: 80", through_id="1700000000000-9"),
        '{"type":"resync",HEAD,"step":0,"text":"score: 80","throughId":"1700000000000-9"}',
    ),
    (Stalled(since=1699999999000), '{"type":"stalled",HEAD,"since":1699999999000}'),
    (
        Done(result={"text": "hi", "score": 80}, usage={"cost": 0.5}, latency_ms=1200, text_length=2),
        '{"type":"done",HEAD,"result":{"text":"hi","score":80},"usage":{"cost":0.5},"latencyMs":1200,"textLength":2}',
    ),
    (
        Error(code="wait_timeout", message="Too long.", refunded=True),
        '{"type":"error",HEAD,"code":"wait_timeout","message":"Too long.","refunded":true}',
    ),
    (Cancelled(refunded=False), '{"type":"cancelled",HEAD,"refunded":false}'),
]


@pytest.mark.parametrize(("event", "golden"), GOLDEN, ids=lambda value: getattr(value, "type", None))
def test_an_event_travels_as_exactly_this_json(event: Event, golden: str) -> None:
    golden = golden.replace("HEAD", HEAD)
    assert encode(event, task_id="t1", attempt=2, at_ms=1_700_000_000_000) == golden
    assert type(event) in {type(decode(golden)), Thinking}


def test_every_type_of_the_contract_has_a_model_and_three_are_terminal() -> None:
    assert set(MODELS) == set(EventType)
    assert {event.type for event, _ in GOLDEN} == set(EventType)
    assert set(TERMINAL) == {"done", "error", "cancelled"}


@pytest.mark.parametrize("field", ["type", "taskId", "attempt", "at"])
def test_an_event_without_its_envelope_is_none(field: str) -> None:
    value = json.loads(encode(Cancelled(refunded=True), task_id="t1", attempt=1))
    del value[field]
    with pytest.raises(ValueError):
        decode(json.dumps(value))


def test_an_event_with_a_field_too_many_is_none() -> None:
    value = json.loads(encode(Cancelled(refunded=True), task_id="t1", attempt=1)) | {"why": "because"}
    with pytest.raises(ValueError):
        decode(json.dumps(value))
