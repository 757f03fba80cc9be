"""Structured answers and scores: what is forgiven, what is not, and what never counts as a result."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.llm.answers import UnusableAnswer, parse_output, parse_score
from shared.llm.models import JobVisionSummary, Output, ResumeCustomize, ResumeSummary
from shared.llm.prompts import shape_of
from shared.llm.templates import SPECS
from shared.llm.usage import Usage
from shared.routing import Model

OUTPUTS = [spec.output for spec in SPECS.values() if spec.output]
SKILLED = '{"skills": {"technical": ["Go"]}}'


def parse(text: str, output: type[Output] = ResumeSummary) -> dict[str, Any]:
    return parse_output(text, output, truncated=False).to_json()


@pytest.mark.parametrize(
    "text",
    [
        SKILLED,
        f"```json\n{SKILLED}\n```",
        f"```\n{SKILLED}\n```",
        f"Here you are:\n\n{SKILLED}\n\nGood luck!",
        f'<think>{{"skills": 1}}</think>{SKILLED}',
        f"<|begin_of_box|>{SKILLED}<|end_of_box|>",
    ],
)
def test_the_object_is_found_whatever_is_wrapped_around_it(text: str) -> None:
    assert parse(text)["skills"]["technical"] == ["Go"]


def test_every_field_is_present_however_little_the_model_gave() -> None:
    given = parse(SKILLED)
    assert given.keys() == shape_of(ResumeSummary).keys()
    assert given["header"] == {"name": "", "email": "", "phone": "", "links": []}
    assert given["experience"] == []
    assert given["profile"]["yearsOfExperience"] is None


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("summary", None, ""),
        ("summary", 7, "7"),
        ("summary", ["one", "two"], "one\ntwo"),
        ("languages", None, []),
        ("languages", "English", ["English"]),
        ("languages", "", []),
        ("languages", ["English", None, ""], ["English"]),
        (
            "experience",
            {"role": "Chef"},
            [{"role": "Chef", "company": "", "duration": "", "highlights": [], "stack": []}],
        ),
    ],
)
def test_habits_of_models_are_forgiven(field: str, value: object, expected: object) -> None:
    assert parse(json.dumps({"skills": {"soft": ["x"]}, field: value}))[field] == expected


@pytest.mark.parametrize(
    ("said", "years"), [(8, 8), (2.5, 2.5), ("8 years", 8), ("about 3.5", 3.5), ("many", None)]
)
def test_years_of_experience_are_a_number_or_null(said: object, years: float | None) -> None:
    text = json.dumps({"summary": "x", "profile": {"yearsOfExperience": said}})
    assert parse(text)["profile"]["yearsOfExperience"] == years


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_output"),
        ("  \n", "empty_output"),
        ("{}", "empty_output"),
        ('{"header": {"name": " "}, "languages": []}', "empty_output"),
        ("I cannot do that.", "invalid_output"),
        ('{"summary": "cut o', "invalid_output"),
        ('{"header": 3}', "invalid_output"),
        ('{"experience": [[]], "summary": "x"}', "invalid_output"),
    ],
)
def test_what_cannot_be_used_is_never_a_result(text: str, code: str) -> None:
    """D18."""
    with pytest.raises(UnusableAnswer) as unusable:
        parse(text)
    assert unusable.value.code == code
    assert unusable.value.to_task_error().code == code


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_result_in_which_everything_is_empty_is_an_error(output: type[Output]) -> None:
    """D18."""
    with pytest.raises(UnusableAnswer):
        parse(json.dumps(shape_of(output)), output)


def test_an_advertisement_without_extracted_text_is_no_result() -> None:
    with pytest.raises(UnusableAnswer) as unusable:
        parse('{"extractedText": "", "jobTitle": "Chef", "confidence": 0.9}', JobVisionSummary)
    assert "extractedText" in unusable.value.problems


def test_suggestions_without_a_resume_are_no_result() -> None:
    with pytest.raises(UnusableAnswer):
        parse('{"suggestions": [{"adjustment": "a", "reason": "b"}], "resume": {}}', ResumeCustomize)


def test_an_answer_cut_off_is_never_a_result_even_if_it_parses() -> None:
    with pytest.raises(UnusableAnswer):
        parse_output(SKILLED, ResumeSummary, truncated=True)


def test_problems_name_the_fields_and_never_the_values() -> None:
    """D38."""
    with pytest.raises(UnusableAnswer) as unusable:
        parse('{"header": {"name": {"first": "Mara"}}, "summary": "x"}')
    assert "header.name" in unusable.value.problems
    assert "Mara" not in unusable.value.problems


@given(st.text())
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    with suppress(UnusableAnswer):
        parse(text)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("score: 85\n\n## x", 85),
        ("Score: 0\n", 0),
        ("score:100", 100),
        ("\n**score: 72**\n", 72),
        ("score：64\n", 64),
        ("score: 85/100\n", 85),
        ("score: 101\n", None),
        ("score: high\n", None),
        ("score: 85.5\n", None),
        ("## Overall\nscore: 85\n", None),
        ("", None),
    ],
)
def test_the_score_is_read_from_the_first_line_alone(text: str, score: int | None) -> None:
    assert parse_score(text) == score


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        (Model.DEEPSEEK_REASONER, 0.02),
        (Model.DEEPSEEK_CHAT, 0.004),
        (Model.GLM_FLASH, 0.002),
        (Model.GLM_VISION, 0.008),
    ],
)
def test_a_thousand_tokens_each_way_cost_what_the_table_says(model: Model, cost: float) -> None:
    assert Usage(1000, 1000).to_json(model)["cost"] == cost


def test_every_model_has_a_price() -> None:
    assert all(Usage(1, 1).to_json(model)["cost"] > 0 for model in Model)
