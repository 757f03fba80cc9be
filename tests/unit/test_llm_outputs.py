"""Structured answers and scores: what is forgiven, what is not, and what never counts as a result."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PermanentTaskError
from shared.llm.answers import UnusableAnswer, check_text, parse_output, parse_score
from shared.llm.models import MAX_SUGGESTIONS, JobVisionSummary, Output, ResumeCustomize, ResumeSummary
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
        ("languages", [{"language": "English", "level": "native"}], ["English, native"]),
        ("languages", ["N/A"], []),
        ("summary", " N/A ", ""),
        ("summary", "未提供。", ""),
        ("certifications", [{"name": "AWS", "year": 2022}], ["AWS, 2022"]),
        ("languages", "", []),
        ("languages", ["English", None, ""], ["English"]),
        (
            "experience",
            {"role": "Chef"},
            [{"role": "Chef", "company": "", "duration": "", "highlights": [], "stack": []}],
        ),
        ("experience", [{"role": "", "company": None, "highlights": [""]}], []),
    ],
)
def test_habits_of_models_are_forgiven(field: str, value: object, expected: object) -> None:
    assert parse(json.dumps({"skills": {"soft": ["x"]}, field: value}))[field] == expected


@pytest.mark.parametrize(
    ("said", "terms"),
    [
        (["Go", "Python"], ["Go", "Python"]),
        ("Go、Python; SQL", ["Go", "Python", "SQL"]),
        ({"languages": ["Go"], "other": ["SQL"]}, ["Go", "SQL"]),
        ([{"name": "Go", "level": 5}], ["Go, 5"]),
        ("none", []),
    ],
)
def test_skills_are_a_list_however_a_model_lists_them(said: object, terms: list[str]) -> None:
    assert parse(json.dumps({"summary": "x", "skills": {"technical": said}}))["skills"]["technical"] == terms


@pytest.mark.parametrize(
    ("said", "markdown"),
    [
        ("- Go", "- Go"),
        (["Go", "- SQL", ""], "- Go\n- SQL"),
        ({"Languages": ["Go", "SQL"], "Tools": "Git", "Soft": []}, "- Languages: Go, SQL\n- Tools: Git"),
        ([{"name": "AWS", "year": 2022}], "- AWS, 2022"),
        (None, ""),
    ],
)
def test_markdown_may_come_as_the_list_or_the_table_that_it_stands_for(said: object, markdown: str) -> None:
    text = json.dumps({"resume": {"skills": said, "certificates": "x"}})
    assert parse(text, ResumeCustomize)["resume"]["skills"] == markdown


def test_a_link_is_its_address_whatever_is_said_about_it() -> None:
    links = ["github.com/x", {"label": "LinkedIn", "url": "https://linkedin.com/in/x"}, {"label": "blog"}]
    text = json.dumps({"header": {"links": links}})
    assert parse(text)["header"]["links"] == ["github.com/x", "https://linkedin.com/in/x"]


@pytest.mark.parametrize(
    ("said", "confidence"),
    [
        (0.9, 0.9),
        ("0.9", 0.9),
        (93, 0.93),
        ("93 %", 0.93),
        (1, 1.0),
        ("1%", 0.01),
        ("high", 0.0),
        (None, 0.0),
    ],
)
def test_confidence_is_a_share_of_one(said: object, confidence: float) -> None:
    text = json.dumps({"extractedText": "Chef", "confidence": said})
    assert parse(text, JobVisionSummary)["confidence"] == pytest.approx(confidence)


@pytest.mark.parametrize("said", [-1, 101, [0.9], {"value": 1}, "-"])
def test_a_confidence_that_means_nothing_is_never_more_than_none(said: object) -> None:
    text = json.dumps({"extractedText": "Chef", "confidence": said})
    with suppress(UnusableAnswer):
        assert parse(text, JobVisionSummary)["confidence"] == 0


@pytest.mark.parametrize(
    ("said", "status"),
    [("verified", "verified"), ("Verified ", "verified"), ("needs review", "needs_review"),
     ("not verified", "needs_review"), (True, "needs_review"), (None, "needs_review")],
)  # fmt: skip
def test_only_the_very_word_verifies_a_resume(said: object, status: str) -> None:
    text = json.dumps({"resume": {"skills": "Go"}, "factCheck": {"status": said}})
    assert parse(text, ResumeCustomize)["factCheck"]["status"] == status


def test_five_suggestions_are_enough() -> None:
    suggestions = [{"adjustment": f"change {n}", "reason": "r"} for n in range(9)]
    text = json.dumps({"resume": {"skills": "Go"}, "suggestions": suggestions})
    assert len(parse(text, ResumeCustomize)["suggestions"]) == MAX_SUGGESTIONS


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


@pytest.mark.parametrize("resume", [{}, {"basics": {"name": "Mara", "summary": "An engineer."}}])
def test_suggestions_without_a_resume_are_no_result(resume: object) -> None:
    """D18."""
    text = json.dumps({"suggestions": [{"adjustment": "a", "reason": "b"}], "resume": resume})
    with pytest.raises(UnusableAnswer):
        parse(text, ResumeCustomize)


def test_a_judgement_on_a_person_of_whom_nothing_is_known_is_no_result() -> None:
    """D18."""
    with pytest.raises(UnusableAnswer):
        parse('{"header": {"name": "N/A"}, "profile": {"persona": "A capable professional."}}')


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_field_and_every_part_says_what_it_holds(output: type[Output]) -> None:
    """The descriptions are what a model reads that is given the JSON schema."""
    schema = output.model_json_schema(by_alias=True)
    silent = [
        f"{name}.{field}"
        for name, part in {"": schema, **schema.get("$defs", {})}.items()
        for field, facts in {"": part, **part["properties"]}.items()
        if not facts.get("description")
    ]
    assert silent == []


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
        ("score: 85 / 100\n", 85),
        ("**Score:** 85%\n", 85),
        ("### Match score: 85 (strong)\n", 85),
        ("Overall Score (0-100): 85\n", 85),
        ("评分：85\n", 85),
        ("匹配度：85分\n", 85),
        ("**匹配分数**： 85\n", 85),
        ("score = 85\n", 85),
        ("`score: 85`\n", 85),
        ('{"score": 85}\n', 85),
        ("score: 85.0\n", 85),
        ("```markdown\nscore: 85\n\n## x\n```", 85),
        ("Here is my judgement:\n\nscore: 85\n\n## x", 85),
        ("好的，以下是分析。\n\n评分：85分\n", 85),
        ("Let me think. score: 10\n</think>\n\nscore: 85\n", 85),
        ("\ufeff\n \nscore: 85", 85),
        ("score: 85 – strong match\n", 85),
        ("score: -5\n", None),
        ("score: 8/10\n", None),
        ("score: 80-90\n", None),
        ("score: 80–90\n", None),
        ("score: 1,000\n", None),
        ("score: NN\n", None),
        ("score:\n85\n", None),
        ("underscore: 85\n", None),
        ("Some say score: 85 is much.\n", None),
        ("First line\nscore: 85 is what others would get\n", None),
        ("a\nb\nc\nd\ne\nscore: 85\n", None),
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


LONG = " Please contact the provider of this service if you think that this is a mistake of ours."


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that." + LONG,
        "I’m really sorry, I can’t assist." + LONG,
        "Unfortunately, I cannot judge a candidate." + LONG,
        "As a language model, I do not give advice on careers." + LONG,
        "I must decline this request." + LONG,
        "**I won't do this.**" + LONG,
        "抱歉，我无法完成这个任务。" * 8,
        "您好，这个问题我暂时无法回答，让我们换个话题再聊聊吧。" * 4,
        "作为一款人工智能助手，我不能对候选人作出评价。" * 4,
        "score: 0\n\n很抱歉，根据相关规定，我不能回答。" * 4,
    ],
)
@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_refusal_is_an_error_and_no_result(text: str, locale: str) -> None:
    """D18."""
    with pytest.raises(PermanentTaskError) as refused:
        check_text(text, locale)
    assert refused.value.code == "provider_refused"


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("## Self-introduction\nI am sorry to leave my team, but this job is the one I want." + LONG, "en"),
        ("## 自我介绍\n很抱歉打扰您，我叫林晓雯，最近一段经历是在云岸科技担任高级后端工程师。" * 3, "zh"),
        ("score: 55\n\n## Overall assessment\nUnfortunately, I cannot see a degree." + LONG, "en"),
        (
            "score: 55\n\n## 总体评价\n作为一名人工智能工程师，你的经历与岗位非常接近，差距在于没有学历。"
            * 3,
            "zh",
        ),
        (
            "You cannot claim Kafka, and I am unable to find a degree, but the rest of it fits well." + LONG,
            "en",
        ),
        ("I'm sorry" + " that this advertisement asks for so much, yet you have done most of it." * 12, "en"),
    ],
)
def test_an_answer_with_regret_in_it_is_no_refusal(text: str, locale: str) -> None:
    check_text(text, locale)


@pytest.mark.parametrize("text", ["", " \n", "score: 80", "**score: 80**\n\n", "```\n```", "## \n"])
def test_a_streamed_text_without_content_is_an_error(text: str) -> None:
    """D18."""
    with pytest.raises(PermanentTaskError) as empty:
        check_text(text, "en")
    assert empty.value.code == "empty_output"


def test_the_price_of_single_tokens_is_exact() -> None:
    """Seven hundred thousand times 0.000008 in binary fractions is something else."""
    assert Usage(1, 0).to_json(Model.DEEPSEEK_CHAT)["cost"] == 0.000002
    assert Usage(3, 1).to_json(Model.DEEPSEEK_REASONER)["cost"] == 0.000036
    assert Usage(700_001, 0).to_json(Model.DEEPSEEK_REASONER)["cost"] == 5.600008


def test_usage_of_several_calls_is_added_before_it_is_priced() -> None:
    usage = (Usage(1, 2, 1) + Usage(10, 20, 5)).to_json(Model.GLM_FLASH)
    assert (usage["promptTokens"], usage["completionTokens"], usage["totalTokens"]) == (11, 22, 33)
    assert usage["cachedTokens"] == 6


def test_cached_tokens_cost_what_the_table_says_or_else_as_the_others() -> None:
    price = {"in": Decimal("0.002"), "out": Decimal("0.003")}
    used = Usage(1000, 100, 400)
    assert used.cost(price) == Decimal("0.0023")
    assert used.cost({**price, "cached": Decimal("0.0005")}) == Decimal("0.0017")
