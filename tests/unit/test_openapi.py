"""The contract as a file: what the models say, complete, valid, and exactly what is served."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import schemathesis

from scripts.contract.calls import CALLS, ApiCall
from scripts.contract.composing import document
from scripts.contract.examples import LOCALES, answer_examples, request_examples, result
from scripts.contract.refusals import REASONS, SAMPLES, refusals_of, sample
from scripts.contract.schemas import RESULTS
from scripts.openapi import main
from shared import errors
from shared.actions import app, responses
from shared.actions.answers import Refusal
from shared.actions.contract import parse
from shared.actions.openapi import openapi_document
from shared.config import load_actions
from shared.errors import MethodNotAllowed, Refused, SluiceError
from shared.llm.models import Output
from shared.routing import Action, Lane, Template

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = document()
OPERATIONS = [pytest.param(call, id=call.name) for call in CALLS]
ASKED = flask.Flask("asked", static_folder=None)
METHODS = ("get", "post", "put", "patch", "delete")
INTERNAL = {f"/callbacks/{name}" for name in ("step", "failure", "sweep")}
"""What QStash alone calls: served, and no part of the contract."""


def walk(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a document with its place."""
    if isinstance(node, dict):
        yield path, node
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        yield from walk(value, f"{path}/{name}")


def operation(call: ApiCall) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][call.path][call.method]
    return found


# -- the file --------------------------------------------------------------------------------------------------------


def test_the_committed_file_is_what_the_models_say() -> None:
    assert main(["--check"]) == 0
    assert json.loads(openapi_document()) == DOCUMENT


def test_a_file_that_differs_is_reported_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "openapi.json"
    assert main(["--check"], file) == 1
    file.write_text("{}")
    assert main(["--check"], file) == 1
    assert "run scripts/openapi.py" in capsys.readouterr().err
    assert file.read_text() == "{}"
    assert main([], file) == 0
    assert main(["--check"], file) == 0


def test_the_document_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_reference_leads_somewhere_and_every_component_is_referred_to() -> None:
    referred = {node["$ref"] for _, node in walk(DOCUMENT) if "$ref" in node}
    there = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert referred == there


def test_nothing_of_the_generator_is_left_in_the_document() -> None:
    text = openapi_document().decode()
    assert "x-result" not in text
    assert str(ROOT) not in text


# -- what a frontend's developer reads -------------------------------------------------------------------------------


@pytest.mark.parametrize("call", OPERATIONS)
def test_every_call_says_what_it_does_and_shows_it(call: ApiCall) -> None:
    described = operation(call)
    assert described["summary"]
    assert described["description"]
    if call.body:
        assert described["requestBody"]["content"]["application/json"]["examples"]
    if call.answer:
        assert described["responses"][str(call.status)]["content"]["application/json"]["examples"]
    for status, response in described["responses"].items():
        assert response["description"], status


def test_every_field_has_a_description() -> None:
    undescribed = [
        f"{path}/{name}"
        for path, node in walk(DOCUMENT["components"]["schemas"])
        for name, field in node.get("properties", {}).items()
        if not field.get("description") and name != "ok" and "/oneOf/" not in path
    ]
    assert undescribed == []


def test_answers_that_hold_texts_are_shown_in_both_languages() -> None:
    for name in ("getTask", "getResume", "getService", "listServices"):
        shown = answer_examples()[name]
        assert all(any(key.endswith(locale) for key in shown) for locale in LOCALES), name
    for name in ("uploadResume", "uploadDetailedResume", "createService"):
        shown = request_examples()[name]
        assert all(any(key.endswith(locale) for key in shown) for locale in LOCALES), name


@pytest.mark.parametrize("call", [call for call in CALLS if call.body], ids=lambda call: call.name)
def test_every_example_of_a_request_is_taken_by_the_model_that_validates(call: ApiCall) -> None:
    assert call.body
    for body in request_examples()[call.name].values():
        parse(call.body, body)


@pytest.mark.parametrize("call", [call for call in CALLS if call.answer], ids=lambda call: call.name)
def test_every_example_of_an_answer_is_exactly_what_its_model_says(call: ApiCall) -> None:
    assert call.answer
    for answer in answer_examples()[call.name].values():
        call.answer.model_validate_json(json.dumps(answer), strict=True, by_alias=True, by_name=False)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("template", Template)
def test_every_example_of_a_result_is_exactly_what_the_template_gives(
    template: Template, locale: str
) -> None:
    model, shown = RESULTS[template], result(template, locale)
    made = model.model_validate_json(json.dumps(shown), by_alias=True, by_name=False)
    assert made.model_dump(mode="json", by_alias=True) == shown
    assert not isinstance(made, Output) or not made.is_empty


# -- refusals --------------------------------------------------------------------------------------------------------


def test_every_refusal_that_a_caller_can_meet_is_described_and_belongs_to_a_call() -> None:
    """A method that an address does not answer belongs to no call: 405 stands for itself."""
    known = {
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, Refused) and error not in {Refused, MethodNotAllowed}
    }
    of_calls = {error for call in CALLS for error in call.refusals}
    assert known <= of_calls
    assert of_calls | {SluiceError} == set(REASONS)


@pytest.mark.parametrize("error", REASONS, ids=lambda error: error.code)
def test_the_example_of_a_refusal_is_what_actions_answers(error: type[SluiceError]) -> None:
    answer, answered = sample(error), responses.refusal(SAMPLES.get(error) or error())
    assert answer == answered.get_json()
    assert answered.status_code == error.status
    Refusal.model_validate_json(json.dumps(answer), strict=True, by_alias=True, by_name=False)


@pytest.mark.parametrize("call", OPERATIONS)
def test_a_refusal_that_asks_to_come_back_says_when(call: ApiCall) -> None:
    for status, response in refusals_of(call).items():
        assert ("Retry-After" in response.get("headers", {})) == (status in {"429", "503"}), status
        for narrowed in (part for part in response["content"]["application/json"]["schema"]["allOf"][1:]):
            assert ("retryAfter" in narrowed["required"]) == (status in {"429", "503"}), status


# -- what is served --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def application() -> app.Application:
    """The application with nothing behind it: which addresses there are is decided before any work."""
    return app.Application(
        load_actions(
            {
                "SLUICE_ENV": "dev",
                "REDIS_URL": "redis://127.0.0.1:1",
                "QSTASH_URL": "http://127.0.0.1:1",
                "QSTASH_TOKEN": "a token",
                "QSTASH_CURRENT_SIGNING_KEY": "a key",
                "QSTASH_NEXT_SIGNING_KEY": "another key",
                "AUTH_JWT_SECRET": "a secret of users' tokens, of thirty-two bytes and more",
                "STREAM_TOKEN_SECRET": "a secret of stream tokens, of thirty-two bytes and more",
                "ALLOWED_ORIGINS": "https://app.sluice.test",
                "BLOB_URL": "file:///nowhere",
                "ACTIONS_URL": "https://actions.sluice.test",
                "EVENTS_URL": "https://events.sluice.test",
                **{lane.url_variable: f"https://{lane}.sluice.test".replace("_", "-") for lane in Lane},
            }
        )
    )


def status(application: app.Application, method: str, path: str) -> int:
    with ASKED.test_request_context(path, method=method.upper()):
        return application.answer(flask.request).status_code


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", "some-id", path)


def test_every_documented_path_answers_its_methods_and_no_other(application: app.Application) -> None:
    for path, documented in DOCUMENT["paths"].items():
        for method in METHODS:
            assert (status(application, method, concrete(path)) == 405) == (method not in documented), (
                f"{method} {path}"
            )


def test_every_address_that_the_app_knows_is_documented(application: app.Application) -> None:
    """Whatever word stands in its source is tried as each part of an address, beside an id."""
    literals = (
        node for node in ast.walk(ast.parse(inspect.getsource(app))) if isinstance(node, ast.Constant)
    )
    words = {str(node.value) for node in literals if re.fullmatch(r"[a-z][a-z.-]*", str(node.value))}
    words |= {*Action, "some-id"}
    tried = {f"/{first}" for first in words}
    tried |= {f"/{first}/{second}" for first in words for second in words}
    tried |= {f"/{first}/some-id/{third}" for first in words for third in words}
    served = {path for path in tried if status(application, "get", path) != 404}
    known = {re.sub(r"\{\w+\}", "[^/]+", path) for path in DOCUMENT["paths"]} | INTERNAL
    assert {path for path in served if not any(re.fullmatch(pattern, path) for pattern in known)} == set()
    assert {concrete(path) for path in DOCUMENT["paths"]} | INTERNAL <= served
