"""What is served holds to the contract: requests made from `openapi.json`, good and bad, against the real application.

Schemathesis makes the requests, always the same ones. They come from a user who has a résumé and a matched service,
and half of the good ones name what this user really has.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import docx
import pytest
import schemathesis
from fpdf import FPDF
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode

from scripts.contract.calls import CALLS
from scripts.contract.examples import result
from shared.actions.answers import Answer, Refusal
from shared.actions.openapi import openapi_document
from shared.llm.runner import Outcome, TemplateCall
from tests.integration.http.kit import RESUME, World, data_url, picture, user_token

ROOMY = {
    "INITIAL_QUOTA": "100000",
    "USER_MAX_ACTIVE": "100000",
    "QUEUE_MAX_SIZE": "100000",
    "RATE_LIMIT_READS": "100000/second",
    "RATE_LIMIT_WRITES": "100000/second",
}
"""Limits that no request of these tests meets: other tests have the refusals."""

Case = schemathesis.Case[Any]
ANSWERS: Mapping[str, type[Answer] | None] = {call.name: call.answer for call in CALLS}


# -- what is sent ----------------------------------------------------------------------------------------------------


def pdf() -> bytes:
    document = FPDF()
    document.add_page()
    document.set_font("helvetica", size=11)
    document.multi_cell(0, text=RESUME)
    return bytes(document.output())


def word() -> bytes:
    document, out = docx.Document(), io.BytesIO()
    document.add_paragraph(RESUME)
    document.save(out)
    return out.getvalue()


FILES = {
    "text/plain": RESUME.encode(),
    "text/markdown": f"# Ada\n\n{RESUME}".encode(),
    "application/pdf": pdf(),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": word(),
    **{f"image/{name.lower()}": picture(name) for name in ("PNG", "JPEG", "WEBP")},
}
for media_type, data in FILES.items():
    schemathesis.openapi.media_type(media_type, st.just(data))
schemathesis.openapi.format(
    "data-url",
    st.sampled_from([data_url(data, name) for name, data in FILES.items() if name.startswith("image/")]),
)

schema = schemathesis.openapi.from_dict(
    json.loads(openapi_document()),
    config=schemathesis.Config.from_dict({"generation": {"deterministic": True}}),
)


class ModelByTheBook:
    """Stands where the runner stands: every template gives its example in the document."""

    def __call__(self, call: TemplateCall, *, on_text: Any, **_: Any) -> Outcome:
        made = result(call.template, call.locale)
        if call.template.streams:
            on_text(made["text"])
        return Outcome(result=made, usage={}, first_token_ms=1, warnings=())


class Furnished(World):
    """A world whose user has a résumé, a matched service, and tasks at their end and on their way."""

    def furnish(self) -> None:
        self.change(**ROOMY)
        self.model = ModelByTheBook()  # type: ignore[assignment]  # a runner is what can be called like one
        self.finish(self.start("upload-detailed-resume", {"text": RESUME})[1])
        self.service_id = self.with_match()
        for action in ("customize-resume", "interview-tips"):
            self.finish(self.start(action, {"serviceId": self.service_id})[1])
        self.task_id = str(self.start("create-service", {"jobText": RESUME})[0]["taskId"])


@pytest.fixture
def furnished(redis_url: str, tmp_path: Any) -> Iterator[Furnished]:
    with Furnished(redis_url, tmp_path) as world:
        world.furnish()
        yield world


def name_what_is_there(case: Case, world: Furnished) -> None:
    """Put a real id in the place of every second good one, and give each request an idempotency key of its own."""
    there = {"taskId": world.task_id, "serviceId": world.service_id}
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    for fields in (case.path_parameters, case.body):
        if isinstance(fields, dict):
            fields |= {name: there[name] for name in there if len(str(fields.get(name, ""))) % 2}


# -- what comes back -------------------------------------------------------------------------------------------------


def check_by_models(case: Case, response: Response) -> None:
    """Hold an answer to its model, which forbids a field that the contract does not name."""
    model = ANSWERS[case.operation.definition.raw["operationId"]]
    if response.status_code >= 400:
        model = Refusal  # type: ignore[assignment]  # no Answer, but validates alike
    if model is not None and response.content:
        model.model_validate_json(response.content, strict=True, by_alias=True, by_name=False)


@schema.parametrize()
@settings(max_examples=10, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_contract_names(case: Case, furnished: Furnished) -> None:
    name_what_is_there(case, furnished)
    response = case.call_and_validate(
        base_url=furnished.actions_url, headers={"Authorization": f"Bearer {user_token('ada')}"}
    )
    if case.method == case.operation.method.upper():
        check_by_models(case, response)


def test_the_document_is_served_as_it_is_and_only_when_it_is_new(world: World) -> None:
    first = world.http.get(f"{world.actions_url}/openapi.json")
    assert (first.status_code, first.content) == (200, openapi_document())
    assert first.headers["Content-Type"] == "application/json"
    again = world.http.get(
        f"{world.actions_url}/openapi.json", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert world.http.head(f"{world.actions_url}/openapi.json").headers["ETag"] == first.headers["ETag"]
