"""How large what travels is: a message of each template and tier over QStash, an event of each type in Redis."""

from __future__ import annotations

from shared.messages import TaskMessage
from shared.routing import ROUTES, Lane, Template, Tier
from shared.state import keys
from shared.stream import events
from shared.stream.events import Event, encode
from tests.counts_kit import hold

TASK_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SERVICE_ID = "1f1e2d3c4b5a69788796a5b4c3d2e1f1"
USER_ID = "auth0|5f7c8ec7c33c6c004bbafe82"
AT_MS = 1_764_000_000_000
TEXT = "A sentence of eight words, as in answers."
USAGE = {
    "promptTokens": 700,
    "completionTokens": 500,
    "totalTokens": 1200,
    "cachedTokens": 512,
    "cost": 0.002,
    "currency": "CNY",
    "model": "deepseek-reasoner",
    "ttftMs": 345,
}
EVENTS: tuple[Event, ...] = (
    events.Queued(queue_id=Lane.PAID_STREAM, step=0, position=12, eta_seconds=34),
    events.Start(step=0, template_id=Template.JOB_MATCH, queue_id=Lane.PAID_STREAM),
    events.TokenBatch(step=0, text=TEXT, offset=1234, count=8),
    events.Thinking(step=0, offset=0),
    events.Backpressure(reason="no_slot", retry_after=12),
    events.Retrying(reason="provider_error", retry_after=12),
    events.StepResult(step=0, template_id=Template.JOB_VISION_SUMMARY, data={}),
    events.Resync(step=0, text=TEXT, through_id=f"{AT_MS}-99"),
    events.Stalled(since=AT_MS),
    events.Done(result={}, usage=USAGE, latency_ms=12_345, text_length=2345),
    events.Error(code="provider_error", message=TEXT, refunded=True),
    events.Cancelled(refunded=True),
)
"""With ids, times and numbers of usual length, and no result: that is the model's to say."""


def test_a_message_of_each_template_and_tier_has_exactly_these_bytes() -> None:
    hold("messages", {f"{template}, {tier}": len(_message(template, tier)) for template, tier in ROUTES})


def test_an_event_of_each_type_has_exactly_these_bytes() -> None:
    counted: dict[str, int] = {}
    for event in EVENTS:
        name = event.type if not isinstance(event, events.Thinking) else "token_batch, thinking"
        counted[name] = len(encode(event, task_id=TASK_ID, attempt=1, at_ms=AT_MS).encode())
    assert {event.type for event in EVENTS} == set(events.EventType)
    hold("events", counted)


def _message(template: Template, tier: Tier) -> bytes:
    route = ROUTES[template, tier]
    return TaskMessage(
        task_id=TASK_ID,
        service_id=SERVICE_ID,
        user_id=USER_ID,
        template_id=template,
        step=0,
        queue_id=route.lane,
        model_id=route.model,
        tier=tier,
        counter_key=keys.slots(route.model, tier),
        locale="en",
        retries=3,
        enqueued_at=AT_MS,
    ).to_bytes()
