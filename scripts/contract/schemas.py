"""The schemas of the document: pydantic's own, of the models that validate, with what the contract adds.

Requests and answers come from the room `actions`, the results of the templates from the room `llm`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from scripts.contract.calls import CALLS
from shared.actions import answers
from shared.llm import models
from shared.routing import Template

RESULTS: Mapping[Template, type[BaseModel]] = {
    Template.RESUME_SUMMARY: models.ResumeSummary,
    Template.DETAILED_RESUME_SUMMARY: models.DetailedResumeSummary,
    Template.JOB_VISION_SUMMARY: models.JobVisionSummary,
    Template.JOB_MATCH: answers.Match,
    Template.RESUME_CUSTOMIZE: models.ResumeCustomize,
    Template.INTERVIEW_PREP: answers.InterviewTips,
}
"""What each template's result looks like."""

REF = "#/components/schemas/{model}"


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas without what says nothing: titles made of names, and null as a default.

    A result is written out in full (the mode `serialization`): every field is there, and no default counts.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if self.mode == "serialization" or made.get("default", ...) is None:
            made.pop("default", None)
        return made

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: FBT001 - pydantic's signature
        return self.mode == "serialization" or super().field_is_required(field, total)


def component_schemas() -> dict[str, Any]:
    """Return every schema of the document by its name, ready to be referred to."""
    _, made = models_json_schema(_models(), ref_template=REF, schema_generator=_Schemas)
    schemas = {name: _finished(schema) for name, schema in made["$defs"].items()}
    _limit_texts(schemas)
    for name, schema in schemas.items():
        if not name.endswith("Body"):
            schema.pop("additionalProperties", None)  # a new field of an answer breaks nobody
    return dict(sorted(schemas.items()))


def reference(name: str) -> dict[str, str]:
    return {"$ref": REF.format(model=name)}


def _models() -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    sent = {call.body for call in CALLS if call.body}
    got = {call.answer for call in CALLS if call.answer} | {answers.Refusal}
    contract: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in sent | got]
    results: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation" if model in {answers.Match, answers.InterviewTips} else "serialization")
        for model in RESULTS.values()
    ]
    return sorted(contract + results, key=lambda pair: pair[0].__name__)


def _finished(schema: Any) -> Any:
    """Put results where they are marked, and make a description one line: its breaks were the source's."""
    if isinstance(schema, list):
        return [_finished(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _finished(value) for name, value in schema.items() if name != answers.RESULT_MARK}
    if isinstance(made.get("description"), str):
        made["description"] = " ".join(made["description"].split())
    return made | _marked(schema.get(answers.RESULT_MARK, []))


def _marked(templates: list[str]) -> dict[str, Any]:
    references = [reference(RESULTS[Template(template)].__name__) for template in templates]
    if len(references) == 1:
        return dict(references[0])
    return {"anyOf": references} if references else {}


def _limit_texts(schemas: dict[str, Any]) -> None:
    """Give each body the limit of its call; where two calls share a model, each gets a copy."""
    for call in CALLS:
        if call.body is None or call.text_limit is None:
            continue
        field, max_chars = call.text_limit
        schema = copy.deepcopy(schemas[call.body.__name__]) | {"title": call.body_name}
        text = schema["properties"][field]
        text.get("anyOf", [text])[0]["maxLength"] = max_chars
        schemas[call.body_name] = schema
    for name in {call.body.__name__ for call in CALLS if call.body} - {call.body_name for call in CALLS}:
        del schemas[name]
