"""What QStash calls back: each callback decides from the record, however often, late or out of order it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devstack.valkey import free_port
from shared.errors import RetryableTaskError
from shared.state import keys
from tests.integration.http.kit import ACTIONS_URL, JOB, World, callback_body, changed, data_url, sign
from tests.integration.http.stand_ins import Fault, Published, failing

NAMES = ["step", "failure", "sweep"]


def delay_seconds(publish: Published) -> int:
    return int(publish.headers["upstash-delay"].removesuffix("s"))


def image_task(world: World) -> tuple[str, Published]:
    """Have an image's first step done; returns the task's id and the message that was delivered."""
    world.with_resume()
    accepted, vision = world.start("create-service", {"jobImage": data_url()})
    world.finish(vision)
    return accepted["taskId"], vision


# -- who may call ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_callback_without_a_signature_for_its_own_url_is_refused(world: World, name: str) -> None:
    task_id, vision = image_task(world)
    world.make_overdue(task_id)
    body, before = callback_body(vision, status=489), world.dump()
    other = "step" if name != "step" else "failure"
    for headers in (
        {},
        {"Upstash-Signature": "x.y.z"},
        {"Upstash-Signature": sign(f"{ACTIONS_URL}/callbacks/{other}", body)},
        {"Upstash-Signature": sign(f"{ACTIONS_URL}/callbacks/{name}", body + b" ")},
        {"Upstash-Signature": sign(vision.destination, body)},
        {"Upstash-Signature": sign(f"{world.actions_url}/callbacks/{name}", body)},
    ):
        response = world.http.post(f"{world.actions_url}/callbacks/{name}", content=body, headers=headers)
        assert (response.status_code, response.json()["error"]) == (401, "bad_signature")
        assert response.json()["message"] == "The signature is not valid."
    assert world.dump() == before


@pytest.mark.parametrize("name", ["step", "failure"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"sourceBody": "e30="}', b'{"sourceBody": 7}', b"\xff"]
)
def test_a_callback_that_nobody_can_ever_read_is_not_sent_again(world: World, name: str, body: bytes) -> None:
    response = world.call_back(name, body)
    assert response.status_code == 489
    assert response.headers["Upstash-NonRetryable-Error"] == "true"


@pytest.mark.parametrize("name", ["step", "failure"])
def test_a_callback_for_a_task_that_is_gone_has_nothing_to_do(world: World, name: str) -> None:
    _, publish = world.start()
    world.store.command("FLUSHALL")
    assert world.report(name, publish).status_code == 200
    assert len(world.qstash.published) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_callback_that_cannot_do_its_work_asks_to_be_called_again(world: World, name: str) -> None:
    world.with_resume()
    _, publish = world.start()
    with World(f"redis://127.0.0.1:{free_port()}/0", world.blobs) as blind:
        response = blind.report(name, publish)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1


# -- the next step -----------------------------------------------------------------------------------------------------


def test_d11_the_next_step_is_published_once_however_often_it_is_called_for(world: World) -> None:
    """D11, D17."""
    task_id, vision = image_task(world)
    answers = [world.report("step", vision).json()["status"] for _ in range(3)]
    assert answers == ["published", "nothing_to_do", "nothing_to_do"]
    steps = [p.deduplication_id for p in world.qstash.published if p.message["taskId"] == task_id]
    assert steps == [f"{task_id}.0.1", f"{task_id}.1.1"]


def test_a_step_that_is_not_done_has_no_next(world: World) -> None:
    """D17: QStash calls back after every attempt, failed ones too."""
    world.with_resume()
    _, vision = world.start("create-service", {"jobImage": data_url()})
    requests = world.qstash.requests
    assert world.report("step", vision, status=503).json()["status"] == "nothing_to_do"
    world.claim(vision)
    assert world.report("step", vision).json()["status"] == "nothing_to_do"
    assert world.qstash.requests == requests


def test_a_step_callback_does_not_hurry_the_message_that_its_own_step_waits_for(world: World) -> None:
    """D12: the new message after a failure comes after its delay, and from the failure callback."""
    world.with_resume()
    _, vision = world.start("create-service", {"jobImage": data_url()})
    world.qstash.faults.append(Fault(400))
    assert world.report("failure", vision, status=429).status_code == 503
    assert world.report("step", vision, status=429).json()["status"] == "nothing_to_do"
    assert world.qstash.published[-1] is vision


def test_a_step_callback_that_comes_after_the_end_has_nothing_to_do(world: World) -> None:
    task_id, vision = image_task(world)
    world.report("step", vision)
    match = world.qstash.published[-1]
    world.claim(match)
    assert world.report("step", vision).json()["status"] == "nothing_to_do"
    world.cancel(task_id)
    assert world.report("step", vision).json()["status"] == "nothing_to_do"
    assert world.qstash.published[-1] is match


def test_a_next_step_that_could_not_be_published_is_published_at_the_next_call(world: World) -> None:
    """D17: a failed hand-over leaves no service pending for ever."""
    task_id, vision = image_task(world)
    world.qstash.faults.extend([Fault(500), Fault(500)])
    response = world.report("step", vision)
    assert (response.status_code, response.json()["error"]) == (503, "publish_failed")
    assert world.record(task_id)["state"] == "queued"
    assert world.report("step", vision).json()["status"] == "published"
    world.finish(world.qstash.published[-1])
    assert world.record(task_id)["state"] == "done"


# -- dead letters ------------------------------------------------------------------------------------------------------


def test_d12_a_message_that_only_waited_is_no_dead_letter(world: World) -> None:
    """D12: its task has a new message; whoever looks into the dead-letter queue finds only what failed."""
    _, publish = world.start()
    world.qstash.dead_letters = ["dlq-1", "dlq-of-somebody-else"]
    assert world.report("failure", publish, status=429, dead_letter="dlq-1").json()["status"] == "publish"
    assert world.qstash.dead_letters == ["dlq-of-somebody-else"]
    assert world.report("failure", publish, status=429, dead_letter="dlq-1").json()["status"] == "published"


def test_d12_a_message_that_waited_until_its_task_ended_is_no_dead_letter(world: World) -> None:
    accepted, publish = world.start()
    world.qstash.dead_letters = ["dlq-1"]
    world.cancel(accepted["taskId"])
    assert world.report("failure", publish, status=429, dead_letter="dlq-1").json()["status"] == "ended"
    assert world.qstash.dead_letters == []


def test_a_message_that_its_lane_refused_stays_a_dead_letter(world: World) -> None:
    """Somebody has to look at it."""
    _, publish = world.start()
    world.qstash.dead_letters = ["dlq-1"]
    assert world.report("failure", publish, status=489, dead_letter="dlq-1").json()["status"] == "failed"
    assert world.qstash.dead_letters == ["dlq-1"]


def test_a_dead_letter_that_could_not_be_deleted_is_asked_for_again(world: World) -> None:
    """QStash calls the callback again; the message that it has published is not published twice."""
    _, publish = world.start()
    world.qstash.dead_letters, world.qstash.delete_status = ["dlq-1"], 500
    refused = world.report("failure", publish, status=429, dead_letter="dlq-1")
    assert refused.status_code == 503
    world.qstash.delete_status = None
    assert world.report("failure", publish, status=429, dead_letter="dlq-1").json()["status"] == "published"
    assert world.qstash.dead_letters == []
    assert len(world.qstash.published) == 2


# -- a message that QStash gave up on ----------------------------------------------------------------------------------


def test_a_failure_of_a_task_that_has_ended_changes_nothing(world: World) -> None:
    """D15."""
    accepted, publish = world.start()
    world.cancel(accepted["taskId"])
    before = world.dump()
    assert world.report("failure", publish).json()["status"] == "ended"
    assert world.dump() == before


def test_a_waiting_task_gets_a_new_message_under_a_new_id_with_growing_delays(world: World) -> None:
    """D12: what ate its deliveries at a full slot is not lost; D37: QStash's window drops no requeue."""
    accepted, publish = world.start()
    delays = []
    for n in (2, 3, 4):
        assert (
            world.report("failure", publish, status=429, message_id=f"msg_{n}").json()["status"] == "publish"
        )
        publish = world.qstash.published[-1]
        assert publish.deduplication_id == f"{accepted['taskId']}.0.{n}"
        delays.append(delay_seconds(publish))
    assert delays[0] >= 1
    assert delays == sorted(set(delays))
    world.finish(publish)
    assert world.balance() == 7


def test_the_same_failure_reported_twice_requeues_once(world: World) -> None:
    _, publish = world.start()
    answers = [world.report("failure", publish, status=429).json()["status"] for _ in range(3)]
    assert answers == ["publish", "published", "published"]
    assert len(world.qstash.published) == 2


def test_a_requeue_that_could_not_be_published_is_published_at_the_next_call_under_the_same_id(
    world: World,
) -> None:
    accepted, publish = world.start()
    world.qstash.faults.append(Fault(400))
    assert world.report("failure", publish, status=429).status_code == 503
    assert world.report("failure", publish, status=429).status_code == 200
    assert world.qstash.published[-1].deduplication_id == f"{accepted['taskId']}.0.2"


def test_while_an_attempt_runs_the_new_message_comes_after_its_lease(world: World) -> None:
    world.change(LEASE_SECONDS="20")
    accepted, publish = world.start()
    world.claim(publish)
    assert world.report("failure", publish, status=500).json()["status"] == "publish"
    assert delay_seconds(world.qstash.published[-1]) >= 20
    assert world.record(accepted["taskId"])["state"] == "running"


def test_a_message_whose_worker_was_killed_is_delivered_anew_and_runs(world: World) -> None:
    accepted, publish = world.start()
    world.claim(publish)
    world.lapse_lease(accepted["taskId"])
    world.report("failure", publish, status=0)
    world.finish(world.qstash.published[-1])
    assert world.events(accepted["taskId"])[-1]["attempt"] == 2


def test_a_task_whose_attempts_are_used_up_ends_refunded(world: World) -> None:
    """D14, D15: the last worker was killed, so nobody but this callback can say it."""
    world.change(TASK_RETRIES="1")
    accepted, publish = world.start()
    world.model.acts.append(failing(RetryableTaskError("provider_error", "The provider failed.")))
    world.deliver(publish)
    world.claim(publish)
    world.lapse_lease(accepted["taskId"])
    assert world.report("failure", publish, status=0).json()["status"] == "failed"
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["error"]["code"], status["refunded"]) == ("attempts_exhausted", True)
    assert (world.balance(), world.places()) == (8, 0)
    assert len(world.qstash.published) == 1


def test_a_message_that_its_lane_refuses_ends_the_task_refunded(world: World) -> None:
    """D6: a refused message gives everything back too."""
    accepted, publish = world.start()
    assert world.deliver(changed(publish, modelId="glm-4.5-flash")).status_code == 489
    assert world.report("failure", publish, status=489).json()["status"] == "failed"
    assert world.get(f"/tasks/{accepted['taskId']}").json()["error"]["code"] == "message_refused"
    assert (world.balance(), world.places()) == (8, 0)


def test_a_failure_after_the_waiting_budget_ends_the_task_refunded(world: World) -> None:
    world.change(MAX_WAIT_SECONDS_BATCH="0.001")
    accepted, publish = world.start()
    assert world.report("failure", publish, status=429).json()["status"] == "failed"
    assert world.get(f"/tasks/{accepted['taskId']}").json()["error"]["code"] == "wait_timeout"
    assert world.balance() == 8


def test_a_failure_of_a_step_that_is_over_has_nothing_to_do(world: World) -> None:
    task_id, vision = image_task(world)
    assert world.report("failure", vision, status=500).json()["status"] == "ended"
    assert world.record(task_id)["state"] == "queued"


def test_a_failure_of_a_step_that_no_task_has_is_no_fault_of_ours(world: World) -> None:
    _, publish = world.start()
    assert world.report("failure", changed(publish, step=7)).status_code == 200


# -- the sweep ---------------------------------------------------------------------------------------------------------


def sweep(world: World) -> Any:
    response = world.call_back("sweep")
    assert response.status_code == 200
    return response.json()["outcomes"]


def test_the_sweep_ends_what_was_lost_and_leaves_the_rest_alone(world: World) -> None:
    lost, _ = world.start(user="lost")
    waiting, _ = world.start(user="waiting")
    running, publish = world.start(user="running")
    world.claim(publish)
    for task in (lost, running):
        world.make_overdue(task["taskId"])
    assert sweep(world) == {"lost": 1, "alive": 1}
    states = {task["taskId"]: world.record(task["taskId"])["state"] for task in (lost, waiting, running)}
    assert list(states.values()) == ["failed", "queued", "running"]
    assert world.balance("lost") == 8
    assert sweep(world) == {}


def test_d1_the_sweep_ends_a_task_whose_worker_was_killed_and_whose_messages_are_gone(world: World) -> None:
    """D1, D2: the dead-letter queue was purged; slot, place and coin come back all the same."""
    accepted, publish = world.start()
    world.claim(publish)
    world.lapse_lease(accepted["taskId"])
    world.make_overdue(accepted["taskId"])
    assert sweep(world) == {"lost": 1}
    assert (world.balance(), world.places()) == (8, 0)


def test_the_sweep_publishes_a_step_whose_callback_was_lost(world: World) -> None:
    """D17."""
    task_id, _ = image_task(world)
    world.make_overdue(task_id)
    assert sweep(world) == {"publish": 1}
    world.finish(world.qstash.published[-1])
    assert world.record(task_id)["state"] == "done"


def test_a_sweep_goes_on_when_one_publish_fails_and_asks_to_be_called_again(world: World) -> None:
    task_id, _ = image_task(world)
    lost, _ = world.start(user="lost")
    world.store.command("ZADD", keys.OPEN_TASKS, 1, task_id, 2, lost["taskId"])
    world.qstash.faults.append(Fault(400))
    response = world.call_back("sweep")
    assert (response.status_code, response.json()["error"]) == (503, "publish_failed")
    assert world.record(lost["taskId"])["state"] == "failed"
    assert world.record(task_id)["state"] == "queued"
    world.make_overdue(task_id)
    assert sweep(world) == {"publish": 1}


def test_the_sweep_forgets_a_task_whose_record_is_gone(world: World) -> None:
    world.store.command("ZADD", keys.OPEN_TASKS, 1, "gone")
    assert sweep(world) == {"gone": 1}
    assert world.store.command("ZCARD", keys.OPEN_TASKS) == 0


def test_a_task_is_worth_one_refund_whoever_ends_it(world: World) -> None:
    """D15: cancel, failure callback, sweep and a late worker, one after the other."""
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    world.claim(publish)
    world.make_overdue(accepted["taskId"])
    world.lapse_lease(accepted["taskId"])
    sweep(world)
    world.cancel(accepted["taskId"])
    world.report("failure", publish, status=489)
    world.deliver(publish)
    quota = world.get("/quota").json()
    assert quota["balance"] == 7
    assert json.dumps(quota["ledger"]).count('"refund"') == 1
