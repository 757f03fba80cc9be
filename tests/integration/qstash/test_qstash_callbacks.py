"""Callbacks tell how a delivery was answered; they are messages themselves."""

from __future__ import annotations

import base64
import json
from typing import Any

from qstash import QStash

from devstack.qstash import QStashStandIn
from devstack.qstash.recorder import Delivery, Recorder, Response
from shared.signature import verify_signature


def reports(destination: Recorder, path: str) -> list[dict[str, Any]]:
    """Return the callbacks that came to `path`, in the order of the attempts they tell of."""
    bodies = [json.loads(delivery.body) for delivery in destination.deliveries if delivery.target == path]
    return sorted(bodies, key=lambda body: int(body["retried"]))


def test_a_callback_carries_the_answer_and_the_source(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda _: Response(201, {"x-a": "1"}, b"\xffresult")
    message = sdk.message.publish(
        url=f"{destination.url}/work",
        body="source",
        retries=1,
        headers={"x-source": "s"},
        callback=f"{destination.url}/callback",
    )
    stand_in.wait_until_idle()
    (report,) = reports(destination, "/callback")
    assert report["header"]["X-A"] == ["1"]
    assert base64.b64decode(report["body"]) == b"\xffresult"
    assert base64.b64decode(report["sourceBody"]) == b"source"
    assert report["sourceHeader"]["X-Source"] == ["s"]
    wanted = {
        "status": 201,
        "retried": 0,
        "maxRetries": 1,
        "sourceMessageId": message.message_id,  # type: ignore[union-attr]
        "url": f"{destination.url}/work",
        "method": "POST",
        "callerIP": "127.0.0.1",
    }
    assert {name: report[name] for name in wanted} == wanted
    assert report["createdAt"] <= report["notBefore"]


def test_a_callback_follows_every_attempt_and_the_failure_callback_only_the_last(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda d: Response(500 if d.target == "/work" else 200)
    sdk.message.publish(
        url=f"{destination.url}/work",
        retries=2,
        retry_delay="0",
        callback=f"{destination.url}/callback",
        failure_callback=f"{destination.url}/failure",
    )
    stand_in.wait_until_idle()
    assert [(r["status"], r["retried"]) for r in reports(destination, "/callback")] == [
        (500, 0),
        (500, 1),
        (500, 2),
    ]
    (failure,) = reports(destination, "/failure")
    assert (failure["status"], failure["retried"], failure["maxRetries"]) == (500, 2, 2)
    assert failure["dlqId"] == sdk.dlq.list().messages[0].dlq_id


def test_the_failure_callback_comes_at_once_after_489_and_never_after_success(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    refusal = Response(489, {"Upstash-NonRetryable-Error": "true"})
    destination.respond = lambda d: refusal if d.target == "/refuses" else Response()
    for path in ("/refuses", "/accepts"):
        sdk.message.publish(url=destination.url + path, failure_callback=f"{destination.url}/failure")
    stand_in.wait_until_idle()
    (failure,) = reports(destination, "/failure")
    assert (failure["status"], failure["retried"], failure["url"]) == (489, 0, f"{destination.url}/refuses")


def test_a_callback_is_signed_for_its_own_address(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    url = f"{destination.url}/callback"
    message = sdk.message.publish(url=f"{destination.url}/work", callback=url)
    stand_in.wait_until_idle()
    (callback,) = [delivery for delivery in destination.deliveries if delivery.target == "/callback"]
    verify_signature(callback.headers["upstash-signature"], callback.body, url, stand_in.signing_keys)
    assert callback.message_id != message.message_id  # type: ignore[union-attr]
    assert callback.headers["content-type"] == "application/json"


def test_a_callback_is_retried_with_the_originals_retries_and_buried_when_nobody_takes_it(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda d: Response(503, {"Retry-After": "0"}) if d.target == "/cb" else Response()
    sdk.message.publish(url=f"{destination.url}/work", retries=1, callback=f"{destination.url}/cb")
    assert stand_in.wait_until_idle()["dlq_size"] == 1
    callbacks = [delivery for delivery in destination.deliveries if delivery.target == "/cb"]
    assert [delivery.retried for delivery in callbacks] == [0, 1]


def test_a_callback_has_instructions_and_headers_of_its_own(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda d: Response(500 if d.target == "/callback" else 200)
    sdk.message.publish(
        url=f"{destination.url}/work",
        retries=3,
        callback=f"{destination.url}/callback",
        callback_headers={"Retries": "0", "Method": "PUT", "Forward-X-Mine": "yes"},
    )
    stand_in.wait_until_idle()
    (callback,) = [d for d in destination.deliveries if d.target == "/callback"]
    assert (callback.method, callback.headers["x-mine"]) == ("PUT", "yes")


def test_the_next_of_a_queue_waits_for_the_callbacks_of_the_one_before(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    def respond(delivery: Delivery) -> Response:
        first_callback = delivery.target == "/callback" and delivery.retried == 0
        return Response(500, {"Retry-After": "10"}) if first_callback else Response()

    destination.respond = respond
    for _ in range(2):
        sdk.message.enqueue(queue="q", url=f"{destination.url}/work", callback=f"{destination.url}/callback")
    stand_in.wait_until_idle()
    assert [d.target for d in destination.deliveries] == ["/work", "/callback", "/callback"] * 2
