"""The schema that servers get: strict, of the output itself, and satisfied by what the output takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared.llm.formats import strict_schema
from shared.llm.models import Output
from shared.llm.prompts import shape_of
from shared.llm.templates import JSON_MODES, SPECS
from shared.settings import JsonMode

OUTPUTS = [spec.output for spec in SPECS.values() if spec.output]


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for inner in node.values():
            yield from objects(inner)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_field_is_required_and_no_other_allowed(output: type[Output]) -> None:
    found = list(objects(strict_schema(output)))
    assert found
    assert all(node["required"] == list(node["properties"]) for node in found)
    assert all(node["additionalProperties"] is False for node in found)


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_schema_has_the_fields_that_the_prompt_shows(output: type[Output]) -> None:
    assert list(strict_schema(output)["properties"]) == list(shape_of(output))


@pytest.mark.parametrize("output", OUTPUTS)
def test_nothing_in_the_schema_is_optional_by_a_default(output: type[Output]) -> None:
    assert '"default"' not in str(strict_schema(output)).replace("'", '"')


def test_every_json_mode_says_which_models_take_it() -> None:
    assert set(JSON_MODES) == set(JsonMode)
