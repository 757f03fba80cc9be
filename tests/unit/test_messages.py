"""What travels over QStash: its exact bytes, and that nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import NON_RETRYABLE, MessageError
from shared.messages import MAX_MESSAGE_BYTES, Probe, TaskMessage, parse_message, parse_probe
from shared.routing import ROUTES, Lane, Model, Template, Tier

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GOLDEN = (
    '{"v":1,"taskId":"t-1","serviceId":"s_1","userId":"auth0|张三","templateId":"job_match","step":1,'
    '"queueId":"paid_stream","modelId":"deepseek-reasoner","tier":"paid",'
    '"counterKey":"lock:model:deepseek-reasoner:paid","locale":"zh","retries":3,"enqueuedAt":1790000000000,'
    f'"traceparent":"{TRACEPARENT}"}}'
).encode()
FIELDS: dict[str, Any] = json.loads(GOLDEN)


def message(**changed: Any) -> TaskMessage:
    values: dict[str, Any] = {
        "task_id": "t-1",
        "service_id": "s_1",
        "user_id": "auth0|张三",
        "template_id": Template.JOB_MATCH,
        "step": 1,
        "queue_id": Lane.PAID_STREAM,
        "model_id": Model.DEEPSEEK_REASONER,
        "tier": Tier.PAID,
        "counter_key": "lock:model:deepseek-reasoner:paid",
        "locale": "zh",
        "retries": 3,
        "enqueued_at": 1790000000000,
        "traceparent": TRACEPARENT,
    }
    return TaskMessage(**(values | changed))


def body(**changed: Any) -> bytes:
    return json.dumps(FIELDS | changed).encode()


def test_a_message_is_these_bytes_and_these_bytes_are_the_message() -> None:
    assert message().to_bytes() == GOLDEN
    assert parse_message(GOLDEN) == message()


def test_a_message_without_a_trace_says_nothing_about_it() -> None:
    assert b"traceparent" not in message(traceparent=None).to_bytes()
    assert parse_message(message(traceparent=None).to_bytes()).traceparent is None


def test_a_message_holds_ids_and_numbers_and_no_field_for_a_users_text() -> None:
    """D38: a queue message never carries a user's text or image."""
    assert set(FIELDS) == {
        "v", "taskId", "serviceId", "userId", "templateId", "step", "queueId", "modelId", "tier", "counterKey",
        "locale", "retries", "enqueuedAt", "traceparent",
    }  # fmt: skip
    for name, limit in (("taskId", 64), ("serviceId", 64), ("userId", 256), ("counterKey", 128)):
        with pytest.raises(MessageError, match=name):
            parse_message(body(**{name: "x" * (limit + 1)}))


@pytest.mark.parametrize(("template", "tier"), ROUTES)
def test_every_route_has_its_message_and_the_message_says_the_same_after_the_way(
    template: Template, tier: Tier
) -> None:
    """D7, D8: queue, model and tier are decided once, by the producer, and carried."""
    route = ROUTES[template, tier]
    sent = message(template_id=template, queue_id=route.lane, model_id=route.model, tier=tier)
    arrived = parse_message(sent.to_bytes())
    assert (arrived.template_id, arrived.queue_id, arrived.model_id, arrived.tier) == (
        template,
        route.lane,
        route.model,
        tier,
    )


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"v", "traceparent"}))
def test_a_message_without_one_of_its_fields_is_refused_and_the_field_is_named(name: str) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != name}
    with pytest.raises(MessageError, match=name):
        parse_message(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v", 2),
        ("v", "1"),
        ("v", None),
        ("taskId", ""),
        ("taskId", "t:1"),
        ("taskId", "t-1\n"),
        ("taskId", 7),
        ("serviceId", "../x"),
        ("serviceId", None),
        ("userId", ""),
        ("userId", ["u"]),
        ("templateId", "job_Match"),
        ("templateId", "no_such_template"),
        ("step", -1),
        ("step", 10),
        ("step", "1"),
        ("step", 1.0),
        ("step", True),
        ("queueId", "gold_stream"),
        ("modelId", "gpt-4"),
        ("tier", "PAID"),
        ("locale", "fr"),
        ("retries", -1),
        ("retries", 101),
        ("enqueuedAt", -1),
        ("enqueuedAt", "now"),
        ("image", "data:image/png;base64,AAAA"),
        ("task_id", "t-1"),
    ],
)
def test_a_message_with_a_field_that_is_wrong_is_refused_and_the_field_is_named(
    name: str, value: Any
) -> None:
    with pytest.raises(MessageError, match=name):
        parse_message(body(**{name: value}))


def test_fields_are_read_by_their_name_on_the_wire_only() -> None:
    fields = {key: value for key, value in FIELDS.items() if key != "taskId"}
    with pytest.raises(MessageError):
        parse_message(json.dumps(fields | {"task_id": "t-1"}).encode())


@pytest.mark.parametrize("value", ["", "garbage", TRACEPARENT.upper(), TRACEPARENT + "\n", "0" * 20_000])
def test_a_trace_header_that_is_none_costs_the_trace_and_not_the_task(value: str) -> None:
    assert message(traceparent=value).traceparent is None
    if len(value) < MAX_MESSAGE_BYTES:
        assert parse_message(body(traceparent=value)).traceparent is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"{", b"\xff\xfe", b'"text"', GOLDEN + b"{}", GOLDEN.decode().encode("utf-16")],
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        parse_message(raw)


def test_a_message_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(MessageError, match=str(MAX_MESSAGE_BYTES)):
        parse_message(GOLDEN + b" " * MAX_MESSAGE_BYTES)


def test_the_largest_message_there_can_be_fits() -> None:
    widest = "\U0001f600"
    assert (
        len(message(task_id="t" * 64, service_id="s" * 64, user_id=widest * 256).to_bytes())
        <= MAX_MESSAGE_BYTES
    )


def test_a_refusal_is_final_and_tells_no_value() -> None:
    with pytest.raises(MessageError) as raised:
        parse_message(body(userId=["a secret of the user's"], extra="another"))
    assert raised.value.status == NON_RETRYABLE
    assert "secret" not in str(raised.value)
    assert "another" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_message_cannot_be_changed_on_its_way_through_the_worker() -> None:
    with pytest.raises(ValidationError):
        message().tier = Tier.FREE


@given(raw=st.binary())
def test_no_body_raises_anything_but_a_message_error(raw: bytes) -> None:
    with pytest.raises(MessageError):
        parse_message(raw)


@given(
    changed=st.dictionaries(
        st.sampled_from(sorted(FIELDS)),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    )
)
def test_no_field_raises_anything_but_a_message_error(changed: dict[str, Any]) -> None:
    try:
        parsed = parse_message(body(**changed))
    except MessageError:
        return
    assert parse_message(parsed.to_bytes()) == parsed


# Probes


def test_a_probe_is_these_bytes_and_a_message_is_none() -> None:
    assert parse_probe(b'{"v":1,"probe":"0123456789abcdef"}') == Probe(v=1, probe="0123456789abcdef")
    assert parse_probe(GOLDEN) is None


@given(body=st.binary() | st.text().map(str.encode) | st.sampled_from([b"[" * 256, b"null", b"1"]))
def test_no_body_makes_the_search_for_a_probe_raise(body: bytes) -> None:
    parse_probe(body)
