"""What goes into the stand-in comes out of it: byte for byte, signed, once."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from urllib.parse import quote

import httpx
import jwt
import pytest
from qstash import QStash, Receiver
from qstash.errors import QStashError

from devstack.qstash import QStashStandIn
from devstack.qstash.recorder import Recorder
from shared.signature import verify_signature

BODY = '{"text": "déjà vu ✓"}'


def test_a_published_body_arrives_byte_for_byte_with_its_headers(sdk: QStash, destination: Recorder) -> None:
    published = sdk.message.publish(
        url=f"{destination.url}/a",
        body=b"\x00\xff\xfe",
        content_type="x/y",
        headers={"X-Trace": "1"},
        method="PUT",
    )
    (delivery,) = destination.wait_for(1)
    assert (delivery.method, delivery.target, delivery.body) == ("PUT", "/a", b"\x00\xff\xfe")
    assert delivery.message_id == published.message_id  # type: ignore[union-attr]
    wanted = {
        "content-type": "x/y",
        "x-trace": "1",
        "user-agent": "Upstash-QStash",
        "upstash-retried": "0",
        "upstash-region": "EU-CENTRAL-1",
        "upstash-caller-ip": "127.0.0.1",
    }
    assert {name: delivery.headers.get(name) for name in wanted} == wanted
    assert "authorization" not in delivery.headers


@pytest.mark.parametrize(
    "target", ["/a//b/%2Fc/./d?x=a%20b&y=//&sleep=1", "/?q=1", "/é".encode().decode("latin-1")]
)
def test_an_unencoded_destination_keeps_its_double_slashes_and_its_query(
    http: httpx.Client, destination: Recorder, stand_in: QStashStandIn, target: str
) -> None:
    """As the SDK sends it: pasted into the path. The signed `sub` is exactly this URL."""
    raw = b"/v2/publish/" + (destination.url + quote(target, safe="/%?=&.")).encode()
    http.send(http.build_request("POST", "/", content=BODY, extensions={"target": raw})).raise_for_status()
    (delivery,) = destination.wait_for(1)
    assert delivery.target == quote(target, safe="/%?=&.")
    verify_signature(
        delivery.headers["upstash-signature"],
        delivery.body,
        destination.url + delivery.target,
        stand_in.signing_keys,
    )


def test_a_percent_encoded_destination_is_the_same_destination(
    http: httpx.Client, destination: Recorder
) -> None:
    url = f"{destination.url}/a//b?x=1"
    http.post(f"/v2/publish/{quote(url, safe='')}", content=BODY).raise_for_status()
    assert destination.wait_for(1)[0].target == "/a//b?x=1"


def test_instructions_in_the_query_are_not_passed_on(http: httpx.Client, destination: Recorder) -> None:
    url = f"/v2/publish/{destination.url}/a?x=1&upstash-method=PATCH&qstash_token=none&y=2"
    token = http.headers.pop("authorization").removeprefix("Bearer ")
    http.post(url.replace("none", token)).raise_for_status()
    (delivery,) = destination.wait_for(1)
    assert (delivery.method, delivery.target) == ("PATCH", "/a?x=1&y=2")


def test_the_official_receiver_and_ours_accept_what_is_delivered(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    url, keys = f"{destination.url}/hook", stand_in.signing_keys
    sdk.message.publish(url=url, body=BODY)
    (delivery,) = destination.wait_for(1)
    signature = delivery.headers["upstash-signature"]
    Receiver(keys.current, keys.next).verify(signature=signature, body=BODY, url=url)
    verify_signature(signature, delivery.body, url, keys)


def test_a_signature_carries_the_documented_claims(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    sdk.message.publish(url=f"{destination.url}/hook", body=BODY)
    (delivery,) = destination.wait_for(1)
    claims = jwt.decode(
        delivery.headers["upstash-signature"], stand_in.signing_keys.current, algorithms=["HS256"]
    )
    assert claims["iss"] == "Upstash"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["nbf"] == 0
    assert claims["jti"].startswith("jwt_")
    assert claims["body"] == base64.urlsafe_b64encode(hashlib.sha256(BODY.encode()).digest()).decode()


def test_a_batch_takes_each_item_on_its_own(sdk: QStash, http: httpx.Client, destination: Recorder) -> None:
    answers = sdk.message.batch_json(
        [{"url": f"{destination.url}/{n}", "body": {"n": n}, "headers": {"x-n": str(n)}} for n in range(3)]
    )
    deliveries = {delivery.target: delivery for delivery in destination.wait_for(3)}
    assert {answer.message_id for answer in answers} == {d.message_id for d in deliveries.values()}  # type: ignore[union-attr]
    assert [json.loads(deliveries[f"/{n}"].body)["n"] for n in range(3)] == [0, 1, 2]
    assert deliveries["/2"].headers["content-type"] == "application/json"
    assert deliveries["/2"].headers["x-n"] == "2"
    items = [{"destination": "nowhere"}, {"destination": f"{destination.url}/good"}, "nothing"]
    refused, accepted, malformed = http.post("/v2/batch", json=items).json()
    assert "invalid scheme" in refused["error"]
    assert "error" in malformed
    assert destination.wait_for(4)[3].message_id == accepted["messageId"]


def test_a_deduplication_id_is_taken_once_and_the_second_publish_names_the_first(
    sdk: QStash, http: httpx.Client, destination: Recorder, stand_in: QStashStandIn
) -> None:
    first = sdk.message.publish(url=destination.url, deduplication_id="task.0.1")
    second = sdk.message.publish(url=destination.url, deduplication_id="task.0.1")
    third = sdk.message.publish(url=destination.url, deduplication_id="task.0.2")
    assert second.message_id == first.message_id != third.message_id  # type: ignore[union-attr]
    assert (first.deduplicated, second.deduplicated) == (False, True)  # type: ignore[union-attr]
    headers = {"Upstash-Deduplication-Id": "task.0.2"}
    assert http.post(f"/v2/publish/{destination.url}", headers=headers).status_code == 202
    assert stand_in.wait_until_idle()["deliveries"] == 2


def test_content_based_deduplication_compares_destination_body_and_headers(
    sdk: QStash, destination: Recorder
) -> None:
    def publish(path: str, body: str) -> bool:
        answer = sdk.message.publish(url=destination.url + path, body=body, content_based_deduplication=True)
        return bool(answer.deduplicated)  # type: ignore[union-attr]

    assert [publish("/a", "1"), publish("/a", "1"), publish("/a", "2"), publish("/b", "1")] == [
        False,
        True,
        False,
        False,
    ]


def test_the_deduplication_window_ends(destination: Recorder) -> None:
    with QStashStandIn(time_scale=0.01, deduplication_seconds=0.001) as stand_in:
        url = f"{stand_in.url}/v2/publish/{destination.url}"
        headers = {"Authorization": f"Bearer {stand_in.token}", "Upstash-Deduplication-Id": "same"}
        while len(destination.deliveries) < 2:
            httpx.post(url, headers=headers).raise_for_status()
        stand_in.wait_until_idle()


def test_a_delay_and_a_time_hold_a_message_back(sdk: QStash, destination: Recorder) -> None:
    delayed = sdk.message.publish(url=destination.url, delay="1h")
    message = sdk.message.get(delayed.message_id)  # type: ignore[union-attr]
    assert message.not_before - message.created_at == pytest.approx(3_600_000 * 0.01, abs=2)
    due = message.created_at // 1000 + 7200
    dated = sdk.message.publish(url=destination.url, not_before=due)
    message = sdk.message.get(dated.message_id)  # type: ignore[union-attr]
    assert message.not_before - message.created_at == pytest.approx(7_200_000 * 0.01, abs=20)
    sdk.message.publish(url=destination.url, delay=1, body="soon")
    assert destination.wait_for(1)[0].body == b"soon"


@pytest.mark.parametrize(
    ("destination_url", "headers", "status", "error"),
    [
        ("example.com/hook", {}, 400, "invalid destination url: endpoint has invalid scheme"),
        ("http://h/", {"Upstash-Flow-Control-Key": "k"}, 400, "should be either rate=X or parallelism=Y"),
        ("http://h/", {"Upstash-Retries": "many"}, 400, "upstash-retries must be a whole number"),
        ("http://h/", {"Upstash-Delay": "soon"}, 400, "invalid duration"),
        ("http://h/", {"Upstash-Retry-Delay": "__import__('os')"}, 400, "invalid retry delay expression"),
        ("http://h/", {"Upstash-Callback": "example.com"}, 400, "invalid scheme"),
        ("http://h/", {"Upstash-Method": "BREW"}, 400, "invalid method"),
        ("http://h/", {"Authorization": "Bearer nobody"}, 401, "unauthorized"),
    ],
)
def test_a_malformed_publish_is_refused_with_the_reason(
    http: httpx.Client, destination_url: str, headers: dict[str, str], status: int, error: str
) -> None:
    answer = http.post(f"/v2/publish/{destination_url}", headers=headers)
    assert (answer.status_code, error in answer.json()["error"]) == (status, True), answer.text


def test_a_body_over_the_plans_size_is_refused_with_412(sdk: QStash, destination: Recorder) -> None:
    """D38: an image in a message meets this limit."""
    sdk.message.publish(url=destination.url, body=random.Random(1).randbytes(1_048_576))
    with pytest.raises(QStashError, match="412"):
        sdk.message.publish(url=destination.url, body=b"x" * 1_048_577)
    assert len(destination.wait_for(1)[0].body) == 1_048_576
