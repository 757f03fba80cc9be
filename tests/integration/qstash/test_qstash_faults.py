"""Each fault does what it says, as often as it says, and is switched off again."""

from __future__ import annotations

import json

import httpx
import pytest
from qstash import QStash

from devstack.qstash import QStashStandIn
from devstack.qstash.faults import Faults
from devstack.qstash.recorder import Delivery, Recorder, Response


@pytest.mark.parametrize(("mode", "peak"), [("sequential", 1), ("concurrent", 2)])
def test_duplicate_delivers_the_next_attempt_twice_under_one_id(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, mode: str, peak: int
) -> None:
    def respond(_: Delivery) -> Response:
        if mode == "concurrent" and len(destination.deliveries) < 3:
            destination.wait_for(2)
        return Response()

    destination.respond = respond
    stand_in.faults.update({"duplicate": 1, "duplicate_mode": mode})
    sdk.message.publish(url=destination.url)
    stand_in.wait_until_idle()
    sdk.message.publish(url=destination.url)
    assert stand_in.wait_until_idle()["deliveries"] == 3
    assert len({delivery.message_id for delivery in destination.deliveries[:2]}) == 1
    assert destination.peak_in_flight == peak


def test_drop_publish_accepts_a_message_and_loses_it_but_keeps_its_deduplication_id(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    stand_in.faults.drop_publish = 1
    lost = sdk.message.publish(url=destination.url, body="lost", deduplication_id="1")
    again = sdk.message.publish(url=destination.url, body="again", deduplication_id="1")
    sdk.message.publish(url=destination.url, body="kept")
    state = stand_in.wait_until_idle()
    assert again.message_id == lost.message_id  # type: ignore[union-attr]
    assert [delivery.body for delivery in destination.deliveries] == [b"kept"]
    assert (state["published"], state["dropped"], state["deduplicated"]) == (2, 1, 1)


@pytest.mark.parametrize("accepts", [False, True])
def test_publish_status_answers_with_a_failure_whether_or_not_it_accepted(
    http: httpx.Client, destination: Recorder, stand_in: QStashStandIn, accepts: bool
) -> None:
    stand_in.faults.publish_status_accepts = accepts
    stand_in.faults.publish_status_times = 2
    stand_in.faults.publish_status = 500
    statuses = [http.post(f"/v2/publish/{destination.url}").status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert stand_in.wait_until_idle()["deliveries"] == (3 if accepts else 1)


def test_publish_status_may_be_no_answer_at_all(
    http: httpx.Client, destination: Recorder, stand_in: QStashStandIn
) -> None:
    stand_in.faults.update({"publish_status": "hang", "publish_status_accepts": True})
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"/v2/publish/{destination.url}", timeout=0.2)
    stand_in.faults.clear()
    assert http.post(f"/v2/publish/{destination.url}").status_code == 200
    assert stand_in.wait_until_idle()["deliveries"] == 2


def test_drop_response_makes_a_delivery_that_was_answered_count_as_failed(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """At-least-once: the work was done, QStash does not know it and delivers again."""
    stand_in.faults.drop_response = 1
    sdk.message.publish(url=destination.url, retry_delay="0")
    state = stand_in.wait_until_idle()
    assert (state["deliveries"], state["delivered"], state["retry"]) == (2, 1, 1)


def test_hold_delivers_nothing_until_it_is_released(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    stand_in.faults.hold = True
    message = sdk.message.publish(url=destination.url)
    assert sdk.message.get(message.message_id).url == destination.url  # type: ignore[union-attr]
    assert (stand_in.state()["open"], stand_in.state()["deliveries"]) == (1, 0)
    stand_in.faults.hold = False
    assert stand_in.wait_until_idle()["delivered"] == 1


def test_drop_delivery_loses_a_delivery_on_its_way(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    stand_in.faults.drop_delivery = 2
    sdk.message.publish(url=destination.url, retries=2, retry_delay="0")
    state = stand_in.wait_until_idle()
    assert (state["deliveries"], state["retry"], len(destination.deliveries)) == (3, 2, 1)
    assert destination.deliveries[0].retried == 2


def test_a_hold_may_be_for_one_destination_alone(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    stand_in.faults.hold_to = "/late"
    for name in ("late", "sound"):
        sdk.message.publish(url=f"{destination.url}/{name}")
    destination.wait_for(1)
    assert [delivery.target for delivery in destination.deliveries] == ["/sound"]
    stand_in.faults.hold_to = ""
    stand_in.wait_until_idle()
    assert [delivery.target for delivery in destination.deliveries] == ["/sound", "/late"]


@pytest.mark.parametrize("fault", ["drop_publish", "drop_delivery", "drop_response", "duplicate"])
def test_only_narrows_a_fault_to_one_destination(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, fault: str
) -> None:
    stand_in.faults.update({fault: 1, "only": {fault: "/(meant|intended)"}})
    sdk.message.publish(url=f"{destination.url}/other", retries=0)
    assert stand_in.wait_until_idle()["delivered"] == 1
    assert stand_in.faults.take(fault, "/meant") is True
    stand_in.faults.update({fault: 1})
    sdk.message.publish(url=f"{destination.url}/meant", retries=0)
    stand_in.wait_until_idle()
    assert stand_in.faults.take(fault, "/meant") is False


@pytest.mark.parametrize(("fault", "copies"), [("drop_callbacks", 0), ("double_callbacks", 2)])
def test_callbacks_can_be_lost_and_doubled(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, fault: str, copies: int
) -> None:
    stand_in.faults.update({fault: 1})
    for name in ("spoiled", "sound"):
        sdk.message.publish(url=f"{destination.url}/work", callback=f"{destination.url}/{name}")
        stand_in.wait_until_idle()
    callbacks = [delivery for delivery in destination.deliveries if delivery.target == "/spoiled"]
    assert len(callbacks) == copies
    assert len({delivery.message_id for delivery in callbacks}) == min(copies, 1)
    assert [d.target for d in destination.deliveries].count("/sound") == 1


def test_only_one_kind_of_callback_can_be_lost(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda delivery: Response(500 if delivery.target == "/work" else 200)
    stand_in.faults.update({"drop_callbacks": True, "only": {"drop_callbacks": "/given-up"}})
    sdk.message.publish(
        url=f"{destination.url}/work",
        retries=0,
        callback=f"{destination.url}/attempt",
        failure_callback=f"{destination.url}/given-up",
    )
    stand_in.wait_until_idle()
    assert [delivery.target for delivery in destination.deliveries] == ["/work", "/attempt"]


def test_a_rotation_of_the_keys_can_be_taken_back(stand_in: QStashStandIn) -> None:
    before = stand_in.signing_keys
    assert stand_in.rotate_signing_keys().current == before.next
    stand_in.restore_signing_keys(before)
    assert stand_in.signing_keys == before


def test_a_schedule_that_fires_uses_up_no_fault(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """The sweep runs beside whatever a test does to its own messages."""
    spoiled = {"drop_publish": 1, "duplicate": 1, "drop_delivery": 1, "drop_response": 1}
    stand_in.faults.update(spoiled)
    sdk.schedule.create(destination=destination.url, cron="* * * * *", body="b")
    destination.wait_for(1)
    assert {name: stand_in.faults.as_dict()[name] for name in spoiled} == spoiled


def test_faults_are_set_and_cleared_over_http(http: httpx.Client, stand_in: QStashStandIn) -> None:
    """A stack's tests may run in another process; no token is asked for."""
    del http.headers["authorization"]
    answer = http.post("/dev/faults", json={"drop_publish": 3, "publish_status": 503, "hold": True})
    assert (answer.status_code, answer.json()["drop_publish"], answer.json()["hold"]) == (200, 3, True)
    assert stand_in.faults.publish_status == 503
    assert http.delete("/dev/faults").json() == Faults().as_dict()
    assert http.get("/dev/faults").json() == json.loads(json.dumps(stand_in.faults.as_dict()))


@pytest.mark.parametrize(
    "fault",
    [
        {"duplicates": True},
        {"hold": 1},
        {"duplicate_mode": "both"},
        {"publish_status": True},
        {"only": "/work"},
    ],
)
def test_an_unknown_fault_or_value_is_refused_and_sets_nothing(
    http: httpx.Client, stand_in: QStashStandIn, fault: dict[str, object]
) -> None:
    assert http.post("/dev/faults", json={"drop_publish": 1} | fault).status_code == 400
    assert stand_in.faults == Faults()


def test_the_state_is_the_same_over_http_and_in_process(http: httpx.Client, stand_in: QStashStandIn) -> None:
    assert http.get("/dev/state").json() == stand_in.state()
