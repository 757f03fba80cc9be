"""A failed delivery is retried as documented, and what nobody took ends in the dead-letter queue."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from email.utils import formatdate

import httpx
import pytest
from qstash import QStash
from qstash.errors import QStashError

from devstack.qstash import QStashStandIn
from devstack.qstash.recorder import Delivery, Recorder, Response
from shared.errors import SignatureError
from shared.signature import verify_signature

FAILED = Response(500, {"x-why": "because"}, b"no")


def answering(destination: Recorder, answers: Sequence[Response]) -> None:
    """Answer with each of `answers` in turn, then with 200."""
    turns = itertools.chain(answers, itertools.repeat(Response()))
    destination.respond = lambda _: next(turns)


def planned_delays(stand_in: QStashStandIn, message_id: str) -> list[float]:
    """Return the delays before each retry, in QStash's seconds, as its log tells them."""
    events = [event for event in reversed(stand_in.events()) if event["messageId"] == message_id]
    return [
        (event["nextDeliveryTime"] - event["time"]) / 1000 / stand_in.time_scale
        for event in events
        if event["state"] == "RETRY"
    ]


def test_three_retries_by_default_are_four_deliveries_of_one_message(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """Four times the same id, with `Upstash-Retried` counting from 0 and a signature made anew for each."""
    destination.respond = lambda _: FAILED
    sdk.message.publish(url=f"{destination.url}/x", body="b", retry_delay="1000")
    state = stand_in.wait_until_idle()
    assert [delivery.retried for delivery in destination.deliveries] == [0, 1, 2, 3]
    assert len({delivery.message_id for delivery in destination.deliveries}) == 1
    assert len({delivery.headers["upstash-signature"] for delivery in destination.deliveries}) == 4
    assert (state["deliveries"], state["retry"], state["failed"], state["dlq_size"]) == (4, 3, 1, 1)


def test_a_delivery_that_succeeds_is_not_retried(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    answering(destination, [FAILED, Response(204)])
    sdk.message.publish(url=destination.url, retry_delay="0")
    state = stand_in.wait_until_idle()
    assert (len(destination.deliveries), state["delivered"], state["dlq_size"]) == (2, 1, 0)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 503])
def test_only_2xx_is_success_and_a_redirect_is_not_followed(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, status: int
) -> None:
    destination.respond = lambda _: Response(status, {"location": f"{destination.url}/elsewhere"})
    sdk.message.publish(url=f"{destination.url}/here", retries=0)
    assert stand_in.wait_until_idle()["failed"] == 1
    assert [delivery.target for delivery in destination.deliveries] == ["/here"]


def test_the_default_back_off_is_12_s_148_s_1808_s(sdk: QStash, destination: Recorder) -> None:
    with QStashStandIn(time_scale=0.0001) as stand_in:
        sdk = QStash(stand_in.token, base_url=stand_in.url, retry=False)
        destination.respond = lambda _: FAILED
        message = sdk.message.publish(url=destination.url)
        stand_in.wait_until_idle()
        delays = planned_delays(stand_in, message.message_id)  # type: ignore[union-attr]
        sdk.http._client.close()
    # A stored time is whole ms, which are 10 s of this QStash's.
    assert delays == pytest.approx([12.18, 148.4, 1808.0], abs=10.1)


def test_a_retry_delay_expression_is_in_ms_and_counts_retried_from_0(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """D37: the delay asked for is the delay there is."""
    destination.respond = lambda _: FAILED
    message = sdk.message.publish(url=destination.url, retry_delay="min(5000, 2000 * pow(2, retried))")
    stand_in.wait_until_idle()
    delays = planned_delays(stand_in, message.message_id)  # type: ignore[union-attr]
    assert delays == pytest.approx([2, 4, 5], abs=0.11)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "1m30s"}, 90),
        ({"X-RateLimit-Reset": "5"}, 5),
        ({"X-RateLimit-Reset-Requests": "6s"}, 6),
        ({"Retry-After": "86401"}, 3),
        ({"Retry-After": "later"}, 3),
    ],
)
def test_retry_after_beats_the_publishers_expression_unless_it_is_over_a_day(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, headers: dict[str, str], seconds: float
) -> None:
    answering(destination, [Response(429, headers)])
    message = sdk.message.publish(url=destination.url, retry_delay="3000")
    stand_in.wait_until_idle()
    delays = planned_delays(stand_in, message.message_id)  # type: ignore[union-attr]
    assert delays == pytest.approx([seconds], abs=0.11)


def test_retry_after_may_be_a_date(sdk: QStash, destination: Recorder, stand_in: QStashStandIn) -> None:
    answering(destination, [Response(503, {"Retry-After": formatdate(0, usegmt=True)})])
    message = sdk.message.publish(url=destination.url, retry_delay="3000")
    stand_in.wait_until_idle()
    assert planned_delays(stand_in, message.message_id) == [0]  # type: ignore[union-attr]


def test_489_with_its_header_is_never_delivered_again(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda _: Response(489, {"Upstash-NonRetryable-Error": "true"})
    sdk.message.publish(url=destination.url, retry_delay="0")
    state = stand_in.wait_until_idle()
    assert (len(destination.deliveries), state["dlq_size"]) == (1, 1)


@pytest.mark.parametrize(
    "answer", [Response(489), Response(400, {"Upstash-NonRetryable-Error": "true"})], ids=["status", "header"]
)
def test_489_and_its_header_mean_nothing_without_each_other(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, answer: Response
) -> None:
    destination.respond = lambda _: answer
    sdk.message.publish(url=destination.url, retries=1, retry_delay="0")
    stand_in.wait_until_idle()
    assert len(destination.deliveries) == 2


def test_a_delivery_that_outlives_its_timeout_is_a_failure(
    sdk: QStash, http: httpx.Client, destination: Recorder, stand_in: QStashStandIn
) -> None:
    never = threading.Event()

    def respond(delivery: Delivery) -> Response:
        if delivery.retried == 0:
            never.wait(20)
        return Response()

    destination.respond = respond
    headers = {"Upstash-Timeout": "100ms", "Upstash-Retry-Delay": "0"}
    http.post(f"/v2/publish/{destination.url}", headers=headers)
    state = stand_in.wait_until_idle()
    never.set()
    assert (state["retry"], state["delivered"]) == (1, 1)
    (retry,) = [event for event in stand_in.events() if event["state"] == "RETRY"]
    assert (retry["responseStatus"], retry["error"]) == (0, "the destination did not answer in time")


def test_a_destination_that_is_not_there_is_retried_too(sdk: QStash, stand_in: QStashStandIn) -> None:
    with Recorder() as gone:
        url = gone.url
    sdk.message.publish(url=url, retries=1, retry_delay="0")
    assert stand_in.wait_until_idle()["deliveries"] == 2
    assert sdk.dlq.list().messages[0].response_status == 0


def test_a_dead_letter_keeps_the_message_and_the_last_answer(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda _: FAILED
    sdk.message.publish(url=destination.url, body="b", retries=0, label="paid_batch")
    stand_in.wait_until_idle()  # so that the two fail in this order
    sdk.message.publish(url=destination.url, body="c", retries=0)
    stand_in.wait_until_idle()
    (letter,) = sdk.dlq.list(filter={"label": "paid_batch"}).messages
    assert (letter.body, letter.response_status, letter.response_body) == ("b", 500, "no")
    assert letter.response_headers is not None
    assert letter.response_headers["X-Why"] == ["because"]
    assert sdk.dlq.get(letter.dlq_id).message_id == letter.message_id
    first = sdk.dlq.list(count=1)
    second = sdk.dlq.list(count=1, cursor=first.cursor)
    assert [m.body for m in (*first.messages, *second.messages)] == ["b", "c"]
    assert second.cursor is None
    callers = [sdk.dlq.list(filter={"caller_ip": ip}).messages for ip in ("127.0.0.1", "9.9.9.9")]
    assert [len(messages) for messages in callers] == [2, 0]
    sdk.dlq.delete(letter.dlq_id)
    with pytest.raises(QStashError, match="404"):
        sdk.dlq.delete(letter.dlq_id)
    assert sdk.dlq.delete_many([m.dlq_id for m in sdk.dlq.list().messages]) == 1
    assert stand_in.state()["dlq_size"] == 0


def test_a_dead_letter_retried_is_a_new_message_and_leaves_the_queue(
    sdk: QStash, http: httpx.Client, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda _: FAILED
    sdk.message.publish(url=f"{destination.url}/a", body="b", retries=0, headers={"x-kept": "1"})
    stand_in.wait_until_idle()
    (letter,) = sdk.dlq.list().messages
    answer = http.post(f"/v2/dlq/retry/{letter.dlq_id}", headers={"Upstash-Retries": "1"})
    stand_in.wait_until_idle()
    again = destination.deliveries[1:]
    assert answer.status_code == 201
    assert [d.message_id for d in again] == [answer.json()["messageId"]] * 2 != [letter.message_id] * 2
    assert {(d.body, d.headers["x-kept"]) for d in again} == {(b"b", "1")}
    (letter,) = sdk.dlq.list().messages
    answering(destination, [])
    answer = http.post("/v2/dlq/retry", params={"dlqIds": letter.dlq_id})
    assert (answer.status_code, len(answer.json()["responses"])) == (201, 1)
    assert stand_in.wait_until_idle()["dlq_size"] == 0


def test_rotated_keys_sign_the_next_attempt(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """A destination that knows both keys accepts the attempts before and after one rotation, not after two."""
    known = stand_in.signing_keys

    def rotate_and_fail(_: object) -> Response:
        sdk.signing_key.rotate()
        return FAILED

    destination.respond = rotate_and_fail
    sdk.message.publish(url=f"{destination.url}/x", body="b", retries=2, retry_delay="0")
    stand_in.wait_until_idle()
    first, second, third = destination.deliveries
    for delivery in (first, second):
        verify_signature(delivery.headers["upstash-signature"], b"b", f"{destination.url}/x", known)
    with pytest.raises(SignatureError):
        verify_signature(third.headers["upstash-signature"], b"b", f"{destination.url}/x", known)
    keys = sdk.signing_key.get()
    assert (keys.current, keys.next) == (stand_in.signing_keys.current, stand_in.signing_keys.next)
