"""How a request asks for JSON: its `response_format`, by what the provider and the model take.

The schema is the output model's own, made strict, as OpenAI's servers demand it and small models need it:
every field required, no other allowed. A lenient one lets a grammar end after `{}`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from shared.llm.models import Output
from shared.llm.templates import JSON_MODES
from shared.routing import Model
from shared.settings import JsonMode

_ANNOTATIONS = frozenset({"title", "default"})
_NAMES = frozenset({"properties", "$defs"})
"""Below these keywords stand names of fields and models, which may be any word: `title` is one."""


def response_format(output: type[Output] | None, model: Model, mode: JsonMode) -> dict[str, Any] | None:
    """Return what to send as `response_format`; None for streamed text, and where nothing is to be sent."""
    if output is None or model not in JSON_MODES[mode]:
        return None
    match mode:
        case JsonMode.SCHEMA:
            named = {"name": output.__name__, "strict": True, "schema": strict_schema(output)}
            return {"type": "json_schema", "json_schema": named}
        case JsonMode.GRAMMAR:
            return {"type": "json_object", "schema": strict_schema(output)}
    return {"type": "json_object"}


@cache
def strict_schema(output: type[Output]) -> dict[str, Any]:
    """Return the JSON schema of a whole answer, with nothing optional; not to be changed."""
    schema: dict[str, Any] = _strict(output.model_json_schema(by_alias=True))
    return schema


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {
        key: {name: _strict(schema) for name, schema in value.items()} if key in _NAMES else _strict(value)
        for key, value in node.items()
        if key not in _ANNOTATIONS
    }
    if "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made
