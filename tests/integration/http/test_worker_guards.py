"""What a delivery must pass before any work, at the lanes' real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from shared.messages import MAX_MESSAGE_BYTES
from shared.routing import Lane, Template, serves
from tests.integration.http.kit import ACTIONS_URL, World, changed, lane_url, sign
from tests.integration.http.stand_ins import Published, post_raw, run_function
from tests.logs_kit import Log, logging_to

STREAM_PATH = "/paid/stream/job_match"
REFUSED_TARGETS = {
    "a query string": "/paid/stream/job_match?x=1",
    "an empty query string": "/paid/stream/job_match?",
    "a trailing slash": "/paid/stream/job_match/",
    "a doubled slash in front": "//paid/stream/job_match",
    "a doubled slash inside": "/paid/stream//job_match",
    "an escaped slash": "/paid/stream%2Fjob_match",
    "an escaped letter": "/paid/stream/job%5Fmatch",
    "another case": "/paid/Stream/job_match",
    "a template of another lane": "/paid/stream/resume_summary",
    "another lane's path": "/free/stream/job_match",
    "no template": "/paid/stream",
    "a template nobody has": "/paid/stream/horoscope",
    "a path that climbs": "/paid/stream/x/../job_match",
    "the root": "/",
}


@pytest.fixture(scope="module")
def paid_stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The function's own process: what a path means is decided by the web server, the framework and us together."""
    folder = tmp_path_factory.mktemp("function")
    with World("redis://127.0.0.1:1/0", folder) as world:
        environ = {**world.environ, "ROUTE_URL": lane_url(Lane.PAID_STREAM)}
    with run_function("paid_stream", environ, folder) as url:
        yield url


def post(base_url: str, target: str, *, lane: Lane = Lane.PAID_STREAM) -> int:
    """Post `{}`, signed for exactly this target: nothing but the path is wrong with it."""
    signature = sign(lane_url(lane) + target, b"{}")
    return post_raw(base_url, target, b"{}", **{"Upstash-Signature": signature})[0]


@pytest.mark.parametrize("target", REFUSED_TARGETS.values(), ids=REFUSED_TARGETS.keys())
def test_only_the_exact_path_of_this_lane_is_answered_and_nothing_is_redirected(
    paid_stream: str, target: str
) -> None:
    assert post(paid_stream, target) == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_lane_answers_post_only(paid_stream: str, method: str) -> None:
    assert httpx.request(method, paid_stream + STREAM_PATH).status_code == 405


def test_the_exact_path_is_answered_by_the_process(paid_stream: str) -> None:
    assert post(paid_stream, STREAM_PATH) == 489  # signed, but `{}` is no message


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_larger_than_any_message_is_refused_whatever_it_says_of_its_length(
    paid_stream: str, chunked: bool
) -> None:
    body = b" " * (MAX_MESSAGE_BYTES + 1)
    answer = httpx.post(paid_stream + STREAM_PATH, content=iter([body]) if chunked else body)
    assert answer.status_code == 413


@pytest.mark.parametrize("lane", Lane)
def test_every_template_that_routes_to_a_lane_is_served_by_it_and_no_other_is(
    world: World, lane: Lane
) -> None:
    """D28: what the producer builds, somebody serves."""
    for template in Template:
        status = post(world.worker_url(lane), lane.path(template), lane=lane)
        assert status == (489 if serves(lane, template) else 404)  # signed, but `{}` is no message


SIGNATURES: Mapping[str, Any] = {
    "none": lambda body: None,
    "garbage": lambda body: "not.a.token",
    "of another body": lambda body: sign(
        lane_url(Lane.PAID_BATCH) + "/paid/batch/resume_summary", body + b" "
    ),
    "of a callback": lambda body: sign(f"{ACTIONS_URL}/callbacks/step", body),
    "of the address it came to": lambda body: sign("http://127.0.0.1/paid/batch/resume_summary", body),
}


@pytest.mark.parametrize("make", SIGNATURES.values(), ids=SIGNATURES.keys())
def test_a_bad_signature_is_401_with_its_reason_in_the_log_only(world: World, make: Any) -> None:
    accepted, publish = world.start()
    signature = make(publish.body)
    url = world.worker_url(Lane.PAID_BATCH) + "/paid/batch/resume_summary"
    headers = {"Upstash-Signature": signature} if signature else {}
    with logging_to(Log()) as log:
        answer = world.http.post(url, content=publish.body, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"error": "bad_signature"}
    (line,) = log.told("signature_refused")
    assert line["reason"]
    assert (
        "Upstash-NonRetryable-Error" not in answer.headers
    )  # QStash tries again: a wrong key must lose nothing
    assert world.record(accepted["taskId"])["state"] == "queued"


@pytest.mark.parametrize("signed_for", Lane)
def test_a_delivery_signed_for_one_lane_is_refused_by_every_other(world: World, signed_for: Lane) -> None:
    """N×N: the public URL is part of what is signed, and no `Host` header makes up for it."""
    body = b"{}"
    for lane in Lane:
        template = next(t for t in Template if serves(lane, t))
        host = lane_url(signed_for).removeprefix("https://")
        headers = {
            "Upstash-Signature": sign(lane_url(signed_for) + lane.path(template), body),
            "Host": host,
            "X-Forwarded-Host": host,
            "X-Forwarded-Proto": "https",
        }
        answer = world.http.post(world.worker_url(lane) + lane.path(template), content=body, headers=headers)
        assert answer.status_code == (489 if lane is signed_for else 401)


def assert_never_again(answer: httpx.Response) -> None:
    assert answer.status_code == 489
    assert answer.headers["Upstash-NonRetryable-Error"] == "true"


BAD_BODIES = {
    "no JSON": b"\xff\xfe",
    "not an object": b"[1, 2]",
    "nothing": b"",
    "an empty object": b"{}",
    "deep nesting": b"[" * 5000,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_signed_body_that_is_no_message_is_never_delivered_again(world: World, body: bytes) -> None:
    _, publish = world.start()
    assert_never_again(world.deliver(Published(publish.destination, {}, body)))


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "another version": {"v": 2},
    "a field too many": {"text": "a user's words"},
    "another lane": {"queueId": "free_batch"},
    "another template of this lane": {"templateId": "resume_customize"},
    "another model": {"modelId": "deepseek-reasoner"},
    "another tier": {"tier": "free"},
    "another user": {"userId": "eve"},
    "another service": {"serviceId": "other"},
    "a task nobody knows": {"taskId": "0" * 32},
    "a step that is not there": {"step": 1},
    "a step below zero": {"step": -1},
    "a task id that is no id": {"taskId": "a:b"},
}


@pytest.mark.parametrize("fields", CHANGES.values(), ids=CHANGES.keys())
def test_a_message_that_disagrees_with_its_record_is_never_delivered_again(
    world: World, fields: Mapping[str, Any]
) -> None:
    """D7, D8: a worker decides no queue, no model and no tier; it only compares."""
    accepted, publish = world.start()
    assert_never_again(world.deliver(changed(publish, **fields)))
    assert world.record(accepted["taskId"])["state"] == "queued"
    assert world.model.calls == []
    assert world.slot_holders() == 0


def test_a_message_without_a_field_is_named_by_its_field_and_never_by_a_value(world: World) -> None:
    _, publish = world.start()
    message = {**publish.message, "locale": "the user's words"}
    del message["tier"]
    answer = world.deliver(Published(publish.destination, {}, json.dumps(message).encode()))
    assert_never_again(answer)
    assert "tier" in answer.json()["message"]
    assert "words" not in answer.text
