"""Flow control: what waits, waits at the broker, in order; and a waiting retry holds no place."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from qstash import QStash

from devstack.qstash import QStashStandIn
from devstack.qstash.recorder import Delivery, Recorder, Response


class Barrier:
    """Answers that wait until they are let go."""

    def __init__(self) -> None:
        self._gate = threading.Semaphore(0)

    def respond(self, _delivery: Delivery) -> Response:
        assert self._gate.acquire(timeout=20)
        return Response()

    def let_go(self, count: int) -> None:
        self._gate.release(count)


@pytest.fixture
def barrier(destination: Recorder) -> Barrier:
    barrier = Barrier()
    destination.respond = barrier.respond
    return barrier


def publish(sdk: QStash, destination: Recorder, body: str, key: str = "k", **flow: Any) -> str:
    flow_control: Any = {"key": key, **flow}
    answer = sdk.message.publish(url=destination.url, body=body, flow_control=flow_control)
    return str(answer.message_id)  # type: ignore[union-attr]


def test_no_more_than_the_parallelism_is_ever_in_flight_and_the_rest_goes_in_order(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, barrier: Barrier
) -> None:
    for n in range(6):
        publish(sdk, destination, str(n), parallelism=2)
    destination.wait_for(2)
    info = sdk.flow_control.get("k")
    assert (info.parallelism_max, info.parallelism_count, info.wait_list_size) == (2, 2, 4)
    state = stand_in.state()
    assert (state["in_flight"]["k"], state["waiting"]["k"], state["deliveries"]) == (2, 4, 2)
    barrier.let_go(6)
    assert stand_in.wait_until_idle()["peak_in_flight"]["k"] == 2
    assert destination.peak_in_flight == 2
    assert Counter(d.body for d in destination.deliveries) == Counter(b"012345"[n : n + 1] for n in range(6))


def test_messages_of_one_place_go_first_in_first_out(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    stand_in.faults.hold = True
    for n in range(5):
        publish(sdk, destination, str(n), parallelism=1)
    stand_in.faults.hold = False
    stand_in.wait_until_idle()
    assert [delivery.body for delivery in destination.deliveries] == [b"0", b"1", b"2", b"3", b"4"]


def test_keys_do_not_wait_for_each_other_and_no_key_waits_for_nothing(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, barrier: Barrier
) -> None:
    publish(sdk, destination, "slow", key="free", parallelism=1)
    publish(sdk, destination, "blocked", key="free", parallelism=1)
    publish(sdk, destination, "paid", key="paid", parallelism=1)
    sdk.message.publish(url=destination.url, body="none")
    assert {d.body for d in destination.wait_for(3)} == {b"slow", b"paid", b"none"}
    assert stand_in.state()["waiting"] == {"free": 1, "paid": 0, "": 0}
    barrier.let_go(4)
    stand_in.wait_until_idle()


def test_a_message_that_waits_for_its_retry_holds_no_place(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    """D12: one that met a full slot does not keep the others of its key waiting."""
    destination.respond = lambda d: Response(503, {"Retry-After": "3600"}) if d.body == b"bad" else Response()
    message_id = publish(sdk, destination, "bad", parallelism=1)
    publish(sdk, destination, "good", parallelism=1)
    assert [delivery.body for delivery in destination.wait_for(2)] == [b"bad", b"good"]
    sdk.message.cancel(message_id)
    stand_in.wait_until_idle()


def test_the_latest_message_decides_the_parallelism(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn, barrier: Barrier
) -> None:
    for n in range(3):
        publish(sdk, destination, str(n), parallelism=1)
    destination.wait_for(1)
    publish(sdk, destination, "3", parallelism=4)
    assert len(destination.wait_for(4)) == 4
    barrier.let_go(4)
    stand_in.wait_until_idle()


def test_a_rate_lets_in_so_many_per_period(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    for n in range(3):
        publish(sdk, destination, str(n), rate=2, period="1h")
    destination.wait_for(2)
    state = stand_in.state()
    assert (state["deliveries"], state["waiting"]["k"]) == (2, 1)
    publish(sdk, destination, "3", rate=2, period=1)
    publish(sdk, destination, "4", key="other", rate=1, period=1)
    publish(sdk, destination, "5", key="other", rate=1, period=1)
    assert stand_in.wait_until_idle()["deliveries"] == 6


def test_a_paused_key_delivers_nothing_until_it_is_resumed(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    sdk.flow_control.pause("k")
    publish(sdk, destination, "0", parallelism=1)
    assert sdk.flow_control.get("k").is_paused
    assert stand_in.state()["waiting"]["k"] == 1
    sdk.flow_control.resume("k")
    assert stand_in.wait_until_idle()["delivered"] == 1


def test_a_cancelled_message_gives_its_place_back_wherever_it_was(
    sdk: QStash, http: httpx.Client, destination: Recorder, stand_in: QStashStandIn, barrier: Barrier
) -> None:
    flying = publish(sdk, destination, "flying", parallelism=1)
    waiting = publish(sdk, destination, "waiting", parallelism=1)
    publish(sdk, destination, "last", parallelism=1)
    destination.wait_for(1)
    assert sdk.message.cancel_many([waiting, flying]) == 2
    assert destination.wait_for(2)[1].body == b"last"
    barrier.let_go(2)
    state = stand_in.wait_until_idle()
    assert (state["canceled"], state["delivered"], state["in_flight"]["k"]) == (2, 1, 0)


def test_a_queue_finishes_a_message_with_its_retries_before_it_begins_the_next(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    destination.respond = lambda d: Response(500) if d.body == b"0" else Response()
    for n in range(2):
        sdk.message.enqueue(queue="q", url=destination.url, body=str(n), retries=2, retry_delay="100")
    stand_in.wait_until_idle()
    assert [delivery.body for delivery in destination.deliveries] == [b"0", b"0", b"0", b"1"]


def test_a_paused_queue_waits_and_shows_its_lag(
    sdk: QStash, destination: Recorder, stand_in: QStashStandIn
) -> None:
    sdk.queue.upsert("q", parallelism=2, paused=True)
    sdk.message.enqueue(queue="q", url=destination.url)
    queue = sdk.queue.get("q")
    assert (queue.parallelism, queue.lag, queue.paused, stand_in.state()["deliveries"]) == (2, 1, True, 0)
    sdk.queue.resume("q")
    stand_in.wait_until_idle()
    assert [(queue.name, queue.paused, queue.lag) for queue in sdk.queue.list()] == [("q", False, 0)]
    sdk.queue.delete("q")
    assert sdk.queue.list() == []
