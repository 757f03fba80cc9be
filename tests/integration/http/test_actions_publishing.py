"""From an accepted action to a message with QStash: what is published, and what happens when it is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.actions.producer import Producer
from shared.config import load_actions
from shared.routing import Lane
from shared.state import keys
from tests.integration.http.kit import ACTIONS_URL, JOB, RESUME, World, data_url, lane_url
from tests.integration.http.stand_ins import Fault, Published, wait_for

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def upstash_headers(publish: Published) -> dict[str, str]:
    return {name: value for name, value in publish.headers.items() if name.startswith("upstash-")}


def test_a_publish_says_all_that_qstash_must_know(world: World) -> None:
    """D37: every option is one that exists."""
    world.change(TASK_RETRIES="2", WORKER_TIMEOUT_SECONDS="120", MODEL_SLOTS='{"deepseek-reasoner:paid": 4}')
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    assert publish.destination == "https://paid-stream.sluice.test/paid/stream/job_match"
    assert publish.headers["authorization"].startswith("Bearer ")
    assert publish.headers["content-type"] == "application/json"
    assert upstash_headers(publish) == {
        "upstash-method": "POST",
        "upstash-deduplication-id": f"{accepted['taskId']}.0.1",
        "upstash-retries": "2",
        "upstash-retry-delay": "min(60000, 1000 * pow(2, retried))",
        "upstash-flow-control-key": "deepseek-reasoner.paid",
        "upstash-flow-control-value": "parallelism=4",
        "upstash-timeout": "120s",
        "upstash-failure-callback": f"{ACTIONS_URL}/callbacks/failure",
        "upstash-failure-callback-retry-delay": "min(60000, 1000 * pow(2, retried))",
        "upstash-label": "paid_stream",
    }


def test_a_step_callback_is_asked_for_only_where_a_step_follows(world: World) -> None:
    world.with_resume()
    _, vision = world.start("create-service", {"jobImage": data_url()})
    assert vision.headers["upstash-callback"] == f"{ACTIONS_URL}/callbacks/step"
    assert vision.headers["upstash-callback-retry-delay"] == "min(60000, 1000 * pow(2, retried))"
    world.finish(vision)
    world.report("step", vision)
    match = world.qstash.published[-1]
    assert match.destination == "https://paid-stream.sluice.test/paid/stream/job_match"
    assert "upstash-callback" not in match.headers
    assert match.deduplication_id == f"{vision.message['taskId']}.1.1"


def test_d38_a_message_carries_ids_and_never_a_users_text(world: World) -> None:
    """D38."""
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB, "locale": "en"}, traceparent=TRACE)
    message = publish.message
    assert isinstance(message.pop("enqueuedAt"), int)
    assert message == {
        "v": 1,
        "taskId": accepted["taskId"],
        "serviceId": accepted["serviceId"],
        "userId": "ada",
        "templateId": "job_match",
        "step": 0,
        "queueId": "paid_stream",
        "modelId": "deepseek-reasoner",
        "tier": "paid",
        "counterKey": "lock:model:deepseek-reasoner:paid",
        "locale": "en",
        "retries": 3,
        "traceparent": TRACE,
    }


def test_a_trace_that_is_none_is_not_carried(world: World) -> None:
    """D38: a header is a stranger's text too."""
    _, publish = world.start(traceparent="my home address")
    assert "traceparent" not in publish.message
    assert "my home address" not in repr(world.dump())
    assert b"address" not in publish.body


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(500), Fault(500)],
        [Fault(400)],
        [Fault(401)],
        [Fault(429)],
        [Fault(None), Fault(None)],
        [Fault(302), Fault(302)],
        [Fault(500, accepted=True), Fault(500)],
    ],
    ids=["5xx", "4xx", "wrong token", "over its limit", "cut off", "redirect", "accepted, and answered 5xx"],
)
def test_d6_a_task_that_could_not_be_published_has_ended_with_everything_given_back(
    world: World, faults: list[Fault]
) -> None:
    """D6, D20, D21: the refusal is said, the coin is back, the places are back, the key is free."""
    world.start(user="someone")
    before_places = world.places()
    world.qstash.faults.extend(faults)
    response = world.ask("upload-resume", {"text": RESUME}, key="k")
    assert (response.status_code, response.json()["error"]) == (503, "publish_failed")
    assert response.headers["Retry-After"] == str(response.json()["retryAfter"])
    assert world.places() == before_places
    assert world.store.command("KEYS", "user:ada:active") == []
    ledger = world.get("/quota").json()
    assert ledger["balance"] == 8
    assert [(line["kind"], line["delta"]) for line in ledger["ledger"]] == [
        ("grant", 8),
        ("debit", -1),
        ("refund", 1),
    ]
    failed = ledger["ledger"][-1]["taskId"]
    assert world.events(failed)[-1]["type"] == "error"
    assert world.get(f"/tasks/{failed}").json()["error"]["code"] == "publish_failed"

    again, _ = world.start(key="k")
    assert (again["replay"], again["taskId"] == failed) == (False, False)


def test_a_publish_that_hangs_is_given_up_and_given_back(world: World) -> None:
    """D20."""
    world.start(user="someone")
    world.qstash.open_gate.clear()
    response = world.ask("upload-resume", {"text": RESUME})
    assert (response.status_code, response.json()["error"]) == (503, "publish_failed")
    assert world.balance() == 8


def test_nobody_listening_at_qstash_is_a_failed_publish(world: World) -> None:
    world.change(QSTASH_URL="http://127.0.0.1:1")
    response = world.ask("upload-resume", {"text": RESUME})
    assert (response.status_code, response.json()["error"]) == (503, "publish_failed")
    assert world.balance() == 8


def test_a_message_that_arrives_after_all_finds_an_ended_task_and_does_nothing(world: World) -> None:
    """D15, D16: accepted by QStash, but its answers were lost: refunded once, run never."""
    world.qstash.faults.extend([Fault(500, accepted=True), Fault(500)])
    assert world.ask("upload-resume", {"text": RESUME}).status_code == 503
    assert world.deliver(world.qstash.published[-1]).json() == {"status": "duplicate"}
    assert world.model.calls == []
    assert world.balance() == 8


def test_a_publish_whose_first_answer_was_lost_is_sent_again_under_the_same_id(world: World) -> None:
    world.qstash.faults.append(Fault(None, accepted=True))
    assert world.ask("upload-resume", {"text": RESUME}).status_code == 202
    assert (world.qstash.requests, len(world.qstash.published)) == (2, 1)


def test_a_failed_publish_keeps_no_image(world: World) -> None:
    world.with_resume()
    world.qstash.faults.append(Fault(400))
    assert world.ask("create-service", {"jobImage": data_url()}).status_code == 503
    assert [path for path in world.blobs.rglob("*") if path.is_file()] == []


# -- idempotency -------------------------------------------------------------------------------------------------------


def test_the_same_request_under_a_key_leads_to_the_same_task_for_one_debit(world: World) -> None:
    """D21."""
    first = world.ask("upload-resume", {"text": RESUME}, key="k").json()
    second = world.ask("upload-resume", {"text": RESUME}, key="k").json()
    assert second["replay"] is True
    assert {**second, "replay": False, "streamUrl": ""} == {**first, "streamUrl": ""}
    assert world.balance() == 7
    assert world.qstash.requests == 1


def test_a_replay_names_the_service_that_was_made_and_keeps_one_image(world: World) -> None:
    world.with_resume()
    answers = [world.ask("create-service", {"jobImage": data_url()}, key="k").json() for _ in range(2)]
    assert len({(answer["taskId"], answer["serviceId"]) for answer in answers}) == 1
    assert len([path for path in world.blobs.rglob("*") if path.is_file()]) == 1
    world.finish(world.qstash.published[-1])
    assert len(world.get("/services").json()["services"]) == 1


def test_a_key_used_for_something_else_is_refused(world: World) -> None:
    world.start(key="k")
    before = world.dump()
    for action, body in (
        ("upload-resume", {"text": RESUME + "!"}),
        ("upload-detailed-resume", {"text": RESUME}),
        ("upload-resume", {"text": RESUME, "locale": "zh"}),
    ):
        response = world.ask(action, body, key="k")
        assert (response.status_code, response.json()["error"]) == (422, "idempotency_mismatch")
    assert world.dump() == before


def test_a_key_is_a_users_own(world: World) -> None:
    first, _ = world.start(key="k", user="ada")
    second, _ = world.start(key="k", user="eve")
    assert (second["replay"], second["taskId"] == first["taskId"]) == (False, False)


def test_a_key_of_a_task_that_ended_still_leads_to_it(world: World) -> None:
    first, publish = world.start(key="k")
    world.finish(publish)
    assert world.ask("upload-resume", {"text": RESUME}, key="k").json()["taskId"] == first["taskId"]
    assert world.balance() == 7


def test_a_repeated_request_while_the_first_is_under_way_leads_to_the_same_task(world: World) -> None:
    """D21: no window between reading the key and writing it."""
    assert world.actions_url
    world.qstash.open_gate.clear()
    with ThreadPoolExecutor(8) as pool:
        requests = [pool.submit(world.ask, "upload-resume", {"text": RESUME}, key="k") for _ in range(8)]
        wait_for(lambda: world.qstash.requests >= 1)
        world.qstash.open_gate.set()
        answers = [request.result().json() for request in requests]
    assert len({answer["taskId"] for answer in answers}) == 1
    assert [answer["replay"] for answer in answers].count(False) == 1
    assert len(world.qstash.published) == 1
    assert world.balance() == 7


def test_a_repeated_request_publishes_a_task_that_was_admitted_and_never_published(world: World) -> None:
    """`actions` killed between debit and publish: the user's second try goes through, for one debit."""
    first, _ = world.start(key="k")
    forget_publish(world, first["taskId"])
    second, publish = world.start(key="k")
    assert (second["replay"], second["taskId"]) == (True, first["taskId"])
    world.finish(publish)
    assert world.balance() == 7


def test_a_repeated_request_that_cannot_publish_either_ends_the_task_and_frees_the_key(world: World) -> None:
    """D20, D21."""
    first, _ = world.start(key="k")
    forget_publish(world, first["taskId"])
    world.qstash.faults.append(Fault(400))
    response = world.ask("upload-resume", {"text": RESUME}, key="k")
    assert (response.status_code, response.json()["error"]) == (503, "publish_failed")
    assert world.balance() == 8
    assert world.start(key="k")[0]["replay"] is False


def forget_publish(world: World, task_id: str) -> None:
    """Put a task where a producer leaves it that dies between admission and publish."""
    world.store.command("HSET", keys.task(task_id), "published", "0")
    world.qstash.published.clear()


def test_the_producers_own_client_never_waits_long(world: World) -> None:
    """A publish may keep a user waiting for seconds, never for the SDK's ten minutes."""
    settings = load_actions({**world.environ, "QSTASH_URL": "http://127.0.0.1:1"})
    with Producer(settings)._http() as client:
        timeout = client.timeout
    assert max(timeout.connect or 99, timeout.read or 99, timeout.write or 99, timeout.pool or 99) <= 5


@pytest.mark.parametrize("coins", ["100", "0"])
def test_whatever_is_published_is_served_by_the_lane_it_goes_to(world: World, coins: str) -> None:
    """D28: every action of both tiers arrives."""
    world.change(INITIAL_QUOTA=coins)
    service_id = world.with_match()
    for action, body in (
        ("upload-detailed-resume", {"text": RESUME}),
        ("create-service", {"jobImage": data_url()}),
        ("customize-resume", {"serviceId": service_id}),
        ("interview-tips", {"serviceId": service_id}),
    ):
        accepted, publish = world.start(action, body)
        assert publish.destination.startswith(lane_url(Lane(accepted["queueId"])) + "/")
        world.finish(publish)
        world.report("step", publish)
        if world.qstash.published[-1] is not publish:
            world.finish(world.qstash.published[-1])
        assert world.record(accepted["taskId"])["state"] == "done"
