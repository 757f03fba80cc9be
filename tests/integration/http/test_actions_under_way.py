"""A step of a service is under way once: whoever asks for it meanwhile gets the task under way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.actions.admission import Admissions, Submission
from shared.errors import PermanentTaskError, PublishFailed
from shared.routing import CUSTOMIZE_RESUME
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission
from shared.state.tasks import Tasks
from tests.integration.http.kit import World
from tests.integration.http.stand_ins import Fault, failing

ACTIONS = pytest.mark.parametrize("action", ["customize-resume", "interview-tips"])


@ACTIONS
def test_a_step_under_way_is_answered_with_its_task_and_charged_once(world: World, action: str) -> None:
    service_id = world.with_match()
    balance = world.balance()
    first, _ = world.start(action, {"serviceId": service_id})
    published = len(world.qstash.published)
    again = world.ask(action, {"serviceId": service_id})
    assert again.status_code == 202
    assert again.json()["replay"] is True
    assert again.json()["taskId"] == first["taskId"]
    assert world.balance() == balance - 2
    assert len(world.qstash.published) == published


@ACTIONS
def test_many_requests_for_a_step_at_once_lead_to_one_task(world: World, action: str) -> None:
    world.change(USER_MAX_ACTIVE="50")
    service_id = world.with_match()
    balance = world.balance()
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda n: world.ask(action, {"serviceId": service_id}, key=f"k{n}"), range(12))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["taskId"] for answer in answers}) == 1
    assert [answer.json()["replay"] for answer in answers].count(False) == 1
    assert world.balance() == balance - 2


def test_another_language_does_not_start_a_second_run_of_the_step(world: World) -> None:
    service_id = world.with_match()
    first, _ = world.start("customize-resume", {"serviceId": service_id, "locale": "en"})
    again = world.ask("customize-resume", {"serviceId": service_id, "locale": "zh"}).json()
    assert (again["taskId"], again["replay"]) == (first["taskId"], True)


def test_the_two_steps_of_a_service_do_not_stand_for_each_other(world: World) -> None:
    service_id = world.with_match()
    customised, _ = world.start("customize-resume", {"serviceId": service_id})
    tips, _ = world.start("interview-tips", {"serviceId": service_id})
    assert customised["taskId"] != tips["taskId"]
    assert tips["replay"] is False


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_a_step_that_has_ended_may_be_asked_for_anew(world: World, end: str) -> None:
    service_id = world.with_match()
    first, publish = world.start("customize-resume", {"serviceId": service_id})
    if end == "cancelled":
        world.cancel(first["taskId"])
    else:
        if end == "failed":
            world.model.acts.append(failing(PermanentTaskError("invalid_output", "Not valid.")))
        world.deliver(publish)
    assert world.record(first["taskId"])["state"] == end
    again = world.ask("customize-resume", {"serviceId": service_id}).json()
    assert again["replay"] is False
    assert again["taskId"] != first["taskId"]


def test_a_key_that_was_answered_with_a_task_under_way_leads_to_it_after_its_end(world: World) -> None:
    """Else a client that lost the answer and repeats its request would pay for a second run."""
    service_id = world.with_match()
    first, publish = world.start("customize-resume", {"serviceId": service_id})
    world.ask("customize-resume", {"serviceId": service_id}, key="lost answer")
    world.finish(publish)
    again = world.ask("customize-resume", {"serviceId": service_id}, key="lost answer").json()
    assert (again["taskId"], again["replay"]) == (first["taskId"], True)


def test_when_no_publish_of_a_step_under_way_succeeds_both_keys_are_free_again(world: World) -> None:
    """D21: a refusal is not remembered, neither under the key that began the task nor under the one that found it."""
    service_id = world.with_match()
    balance = world.balance()
    world.qstash.faults.extend([Fault(500, accepted=False)] * 20)
    world.qstash.open_gate.clear()
    body = {"serviceId": service_id}
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(world.ask, "customize-resume", body, key=key) for key in ("first", "second")]
        world.qstash.open_gate.set()
        assert {answer.result().status_code for answer in answers} == {503}
    assert world.balance() == balance
    world.qstash.faults.clear()
    again = world.ask("customize-resume", body, key="second").json()
    assert again["replay"] is False
    found = world.ask("customize-resume", body, key="first").json()
    assert (found["taskId"], found["replay"]) == (again["taskId"], True)


class Overtaken(Tasks):
    """Transitions in whose gap a first request gives up: after a second has found its task, before it acts."""

    def begin_publish(self, ref: TaskRef, step: int) -> int:
        self.fail_unpublished(ref, code=PublishFailed.code, message="…", idempotency_key="first")
        return super().begin_publish(ref, step)


def test_a_second_request_that_finds_a_task_just_given_up_fails_too_and_is_not_remembered(
    world: World,
) -> None:
    """D21: an accepted answer for a task that ran never and will never would be a lie."""
    service_id = world.with_match()
    app = world.application
    tasks = Overtaken(
        app.store, concurrency=app.settings.concurrency, time=app.settings.time, stream=app.settings.stream
    )
    second = Admissions(app.settings, tasks, app.producer, app.sweeper, app.links)
    asked = Submission("ada", CUSTOMIZE_RESUME, service_id, "en", {}, {}, idempotency_key="second")
    ref = TaskRef("the-first-task", service_id, "ada")
    app.tasks.admit(Admission(ref, CUSTOMIZE_RESUME, "en", {}, 8, idempotency_key="first", fingerprint="f"))
    with pytest.raises(PublishFailed):
        second.submit(asked)
    again = world.ask("customize-resume", {"serviceId": service_id, "locale": "en"}, key="second")
    assert (again.status_code, again.json()["replay"]) == (202, False)


def test_a_page_that_is_opened_again_finds_the_newest_task_of_each_step(world: World) -> None:
    service_id = world.with_match()
    running, _ = world.start("interview-tips", {"serviceId": service_id})
    tasks = world.get(f"/services/{service_id}").json()["tasks"]
    assert set(tasks) == {"create-service", "interview-tips"}
    assert tasks["interview-tips"] == running["taskId"]
    upload, _ = world.start("upload-resume", {"text": "A newer résumé."})
    assert world.get("/resume").json()["tasks"] == {"upload-resume": upload["taskId"]}
