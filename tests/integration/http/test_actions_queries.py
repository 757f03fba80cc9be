"""What a user reads: a task's state and place, coins, résumés, services; and the cancel button."""

from __future__ import annotations

import json

from shared.errors import PermanentTaskError
from shared.routing import Template
from shared.state import keys
from tests.integration.http.kit import JOB, RESUME, World, data_url
from tests.integration.http.stand_ins import MATCH_TEXT, RESULTS, Fault, failing


def test_a_queued_tasks_state_has_exactly_these_fields(world: World) -> None:
    world.start(user="someone")
    accepted, publish = world.start()
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    created_at = status.pop("createdAt")
    assert abs(created_at - publish.message["enqueuedAt"]) < 60_000
    assert status.pop("streamUrl").startswith("https://events.sluice.test/events/resume/")
    assert status == {
        "ok": True,
        "taskId": accepted["taskId"],
        "serviceId": accepted["serviceId"],
        "action": "upload-resume",
        "state": "queued",
        "step": 0,
        "attempt": 0,
        "queueId": "paid_batch",
        "position": 1,
        "etaSeconds": None,
        "isFree": False,
        "refunded": False,
        "finishedAt": None,
    }


def test_the_wait_is_estimated_once_the_queue_has_been_measured(world: World) -> None:
    for _ in range(2):
        world.with_resume("someone")
    accepted, _ = world.start()
    assert isinstance(world.get(f"/tasks/{accepted['taskId']}").json()["etaSeconds"], int)


def test_a_running_task_says_so(world: World) -> None:
    accepted, publish = world.start()
    world.claim(publish)
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["state"], status["attempt"], status["position"]) == ("running", 1, None)


def test_a_finished_task_has_its_result_and_its_end(world: World) -> None:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    world.finish(publish)
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["state"], status["result"]) == ("done", {"text": MATCH_TEXT, "score": 81})
    assert status["finishedAt"] >= status["createdAt"]
    assert "error" not in status


def test_a_failed_task_has_its_error_and_no_result(world: World) -> None:
    accepted, publish = world.start()
    world.model.acts.append(failing(PermanentTaskError("empty_output", "The model said nothing.")))
    world.deliver(publish)
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["state"], status["refunded"]) == ("failed", True)
    assert status["error"] == {"code": "empty_output", "message": "The model said nothing."}
    assert "result" not in status


def test_a_task_at_its_second_step_names_that_steps_queue(world: World) -> None:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobImage": data_url()})
    world.finish(publish)
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["state"], status["step"], status["queueId"]) == ("queued", 1, "paid_stream")


def test_no_answer_shows_what_the_task_was_made_from(world: World) -> None:
    accepted, _ = world.start()
    assert RESUME not in world.get(f"/tasks/{accepted['taskId']}").text


def test_a_cancelled_task_is_refunded_and_cancelling_again_changes_nothing(world: World) -> None:
    """D15."""
    accepted, publish = world.start()
    for _ in range(2):
        response = world.cancel(accepted["taskId"])
        assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert world.balance() == 8
    assert world.event_types(accepted["taskId"]) == ["queued", "cancelled"]
    assert world.deliver(publish).json() == {"status": "duplicate"}
    assert world.model.calls == []


def test_a_task_that_is_done_stays_done_and_paid_when_it_is_cancelled(world: World) -> None:
    accepted, publish = world.start()
    world.finish(publish)
    assert world.cancel(accepted["taskId"]).json()["state"] == "done"
    assert world.balance() == 7


def test_a_user_never_seen_has_the_initial_quota_and_no_ledger(world: World) -> None:
    world.change(INITIAL_QUOTA="5")
    assert world.get("/quota").json() == {"ok": True, "balance": 5, "ledger": []}
    assert world.store.command("KEYS", "user:*") == []


def test_d19_the_ledger_adds_up_to_the_balance_and_names_what_each_coin_was_for(world: World) -> None:
    """D15, D19."""
    world.with_match()
    accepted, _ = world.start("create-service", {"jobText": JOB})
    world.cancel(accepted["taskId"])
    quota = world.get("/quota").json()
    assert [(line["kind"], line["delta"], line["balance"]) for line in quota["ledger"]] == [
        ("grant", 8, 8),
        ("debit", -1, 7),
        ("debit", -2, 5),
        ("debit", -2, 3),
        ("refund", 2, 5),
    ]
    assert sum(line["delta"] for line in quota["ledger"]) == quota["balance"] == 5
    assert quota["ledger"][-1]["taskId"] == accepted["taskId"]
    assert quota["ledger"][-1]["action"] == "create-service"


def test_a_user_without_a_resume_has_none(world: World) -> None:
    kept = dict.fromkeys(["summary", "text", "summaryAt", "detailed", "detailedText", "detailedAt"])
    assert world.get("/resume").json() == {"ok": True, **kept, "tasks": {}}
    assert world.get("/services").json() == {"ok": True, "services": []}


def test_services_are_listed_newest_first_without_their_texts(world: World) -> None:
    first = world.with_match()
    second, publish = world.start("create-service", {"jobImage": data_url()})
    world.finish(publish)
    world.report("step", publish)
    world.finish(world.qstash.published[-1])
    world.store.command("ZADD", keys.services("ada"), 1, first)  # so that both are not of one millisecond
    listed = world.get("/services")
    newest, oldest = listed.json()["services"]
    assert (newest["serviceId"], newest["title"], newest["score"]) == (
        second["serviceId"],
        "Engine programmer",
        81,
    )
    assert oldest["serviceId"] == first
    assert MATCH_TEXT not in json.dumps(listed.json(), ensure_ascii=False)


def test_a_service_shows_all_that_is_kept_of_it(world: World) -> None:
    service_id = world.with_match()
    for action in ("customize-resume", "interview-tips"):
        world.finish(world.start(action, {"serviceId": service_id})[1])
    service = world.get(f"/services/{service_id}").json()
    assert service["jobText"] == JOB
    assert service["match"] == {"text": MATCH_TEXT, "score": 81}
    assert service["customized"] == dict(RESULTS[Template.RESUME_CUSTOMIZE])
    assert service["interview"] == dict(RESULTS[Template.INTERVIEW_PREP])
    assert "userId" not in service


def test_a_service_whose_match_failed_may_be_asked_for_again(world: World) -> None:
    """D17: nothing stays pending for ever."""
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    world.model.acts.append(failing(PermanentTaskError("invalid_output", "Not valid.")))
    world.deliver(publish)
    assert "match" not in world.get(f"/services/{accepted['serviceId']}").json()
    assert world.ask("create-service", {"jobText": JOB}).status_code == 202


def test_reading_a_task_that_was_lost_ends_it_refunded(world: World) -> None:
    accepted, _ = world.start()
    world.make_overdue(accepted["taskId"])
    status = world.get(f"/tasks/{accepted['taskId']}").json()
    assert (status["state"], status["error"]["code"], status["refunded"]) == ("failed", "lost", True)
    assert world.balance() == 8


def test_reading_a_task_whose_second_step_has_no_message_publishes_it(world: World) -> None:
    """D17: the callback was lost; whoever looks hands the step over."""
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobImage": data_url()})
    world.finish(publish)
    world.make_overdue(accepted["taskId"])
    assert world.get(f"/tasks/{accepted['taskId']}").json()["state"] == "queued"
    world.finish(world.qstash.published[-1])
    assert world.get(f"/tasks/{accepted['taskId']}").json()["state"] == "done"


def test_reading_a_task_works_while_qstash_does_not(world: World) -> None:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobImage": data_url()})
    world.finish(publish)
    world.make_overdue(accepted["taskId"])
    world.qstash.faults.append(Fault(400))
    response = world.get(f"/tasks/{accepted['taskId']}")
    assert (response.status_code, response.json()["state"]) == (200, "queued")


def test_asking_for_something_new_ends_what_was_lost_before(world: World) -> None:
    world.change(USER_MAX_ACTIVE="1")
    lost, _ = world.start()
    world.make_overdue(lost["taskId"])
    accepted, _ = world.start()
    assert world.record(lost["taskId"])["errorCode"] == "lost"
    assert world.record(accepted["taskId"])["state"] == "queued"
    assert world.balance() == 7
