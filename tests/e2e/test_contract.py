"""What the running stack answers is what the contract says, field by field, from the first upload to the deletion."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from devstack.frontend import JOB, RESUME, Frontend, advertisement, assert_at_rest
from devstack.stack import Stack
from scripts.contract.calls import CALLS
from scripts.contract.schemas import RESULTS
from shared.actions.answers import Answer, Refusal
from shared.routing import Template

MODELS = {call.name: call.answer for call in CALLS}
KEPT = {
    "summary": Template.RESUME_SUMMARY,
    "detailed": Template.DETAILED_RESUME_SUMMARY,
    "job": Template.JOB_VISION_SUMMARY,
    "match": Template.JOB_MATCH,
    "customized": Template.RESUME_CUSTOMIZE,
    "interview": Template.INTERVIEW_PREP,
}


@pytest.fixture
def stack(plain_stack: Stack) -> Stack:
    return plain_stack


def held(response: httpx.Response, name: str) -> dict[str, Any]:
    """Return an answer after it was held to its model, which forbids a field that the contract does not name."""
    model = MODELS[name]
    assert model is not None
    assert response.is_success, response.text
    return validated(model, response)


def validated(model: type[Answer | Refusal], response: httpx.Response) -> dict[str, Any]:
    model.model_validate_json(response.content, strict=True, by_alias=True, by_name=False)
    answer: dict[str, Any] = response.json()
    return answer


def assert_exact(template: Template, made: dict[str, Any]) -> None:
    """Hold a template's result to its model: every field there, and none besides."""
    kept = RESULTS[template].model_validate_json(json.dumps(made), by_alias=True, by_name=False)
    assert kept.model_dump(mode="json", by_alias=True) == made


def run(someone: Frontend, name: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """Have an action done and return its last status."""
    accepted = held(someone.post(f"/actions/{action}", body), name)
    someone.outcome(accepted)
    status = held(someone.get(f"/tasks/{accepted['taskId']}"), "getTask")
    assert status["state"] == "done", status
    return status


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_every_answer_of_the_whole_way_is_exactly_what_the_contract_says(
    stack: Stack, user: str, locale: str
) -> None:
    someone = Frontend(stack, f"{user}-{locale}")
    held(someone.get("/resume"), "getResume")
    held(someone.get("/quota"), "getQuota")
    for name, action, template in (
        ("uploadResume", "upload-resume", Template.RESUME_SUMMARY),
        ("uploadDetailedResume", "upload-detailed-resume", Template.DETAILED_RESUME_SUMMARY),
    ):
        status = run(someone, name, action, {"text": RESUME, "locale": locale})
        assert_exact(template, status["result"])
    job = {"jobText": JOB} if locale == "en" else {"jobImage": advertisement()}
    status = run(someone, "createService", "create-service", {**job, "locale": locale})
    assert_exact(Template.JOB_MATCH, status["result"])
    service_id = status["serviceId"]
    for name, action, template in (
        ("customizeResume", "customize-resume", Template.RESUME_CUSTOMIZE),
        ("interviewTips", "interview-tips", Template.INTERVIEW_PREP),
    ):
        status = run(someone, name, action, {"serviceId": service_id})
        assert_exact(template, status["result"])

    resume = held(someone.get("/resume"), "getResume")
    service = held(someone.get(f"/services/{service_id}"), "getService")
    for field, template in KEPT.items():
        if field != "job" or locale == "zh":
            assert_exact(template, (resume | service)[field])
    assert held(someone.get("/services"), "listServices")["services"][0]["serviceId"] == service_id
    assert sum(line["delta"] for line in held(someone.get("/quota"), "getQuota")["ledger"]) == 4


def test_a_cancelled_a_failed_and_a_refused_task_are_what_the_contract_says(stack: Stack, user: str) -> None:
    someone = Frontend(stack, user)
    refused = someone.post("/actions/create-service", {"jobText": JOB})
    assert validated(Refusal, refused)["error"] == "resume_required"

    open_task = held(someone.post("/actions/upload-resume", {"text": RESUME}), "uploadResume")
    held(someone.get(f"/tasks/{open_task['taskId']}"), "getTask")
    held(someone.post(f"/tasks/{open_task['taskId']}/cancel"), "cancelTask")
    held(someone.get(f"/tasks/{open_task['taskId']}"), "getTask")

    stack.llm.fail("empty", times=None)
    accepted = held(someone.post("/actions/upload-resume", {"text": RESUME}), "uploadResume")
    someone.outcome(accepted)
    assert held(someone.get(f"/tasks/{accepted['taskId']}"), "getTask")["error"]["code"]
    stack.llm.heal()
    assert_at_rest(stack)


def test_a_deletion_answers_what_the_contract_says(stack: Stack, user: str) -> None:
    someone = Frontend(stack, user).with_resume()
    deleted = httpx.delete(stack.url("actions") + "/me", headers=stack.authorization(user), timeout=30)
    assert held(deleted, "deleteMe")["removed"]["resumes"] == 1
    assert held(someone.get("/resume"), "getResume")["summary"] is None
    held(someone.get("/quota"), "getQuota")


def test_what_the_stack_serves_is_the_documents_own_address(stack: Stack) -> None:
    assert httpx.get(stack.url("actions") + "/healthz").json() == {"ok": True}
    assert httpx.get(stack.url("actions") + "/openapi.json").json()["openapi"] == "3.1.0"
