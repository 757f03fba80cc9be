"""Weak models: what is right in their answers is taken, what is wrong is shown to them once, the rest is an error.

D18: no nonsense is ever a result, so that a user gets the price back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.llm import LlmStandIn
from shared.config import JsonMode
from shared.errors import PermanentTaskError
from shared.llm.formats import strict_schema
from shared.llm.models import DetailedResumeSummary, ResumeSummary
from shared.llm.prompts import shape_of
from shared.routing import Model, Template
from tests.integration.llm_kit import Attempt, make_call, wait_until
from tests.logs_kit import Log, logging_to

SKILLED = json.dumps({"skills": {"technical": ["Go"]}})
GOOD = (
    "You fit this job well, because you have done exactly this work for years, in the same kind of company."
)
ENGLISH = f"score: 70\n\n## Overall assessment\n{GOOD * 6}\n"
CHINESE = (
    "score: 70\n\n## 总体评价\n" + "你很适合这个岗位，因为你多年来一直在做同样的工作，而且做得很好。" * 6
)
CONTEXT = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."


@pytest.fixture
def llm() -> Iterator[LlmStandIn]:
    with LlmStandIn() as stand_in:
        yield stand_in


def failure(llm: LlmStandIn, template: Template, locale: Any = "en") -> str:
    with pytest.raises(PermanentTaskError) as failed:
        Attempt(llm).run(make_call(template, locale))
    return failed.value.code


@pytest.mark.parametrize(
    "text",
    [
        f"Certainly! Here is the JSON:\n\n```json\n{SKILLED}\n```\nLet me know if {{anything}} is missing.",
        f"I fill in {{name}} and leave {{}} empty.\n{SKILLED}",
        f"[{SKILLED}]",
        json.dumps({"resume_summary": json.loads(SKILLED)}),
        f"<think>An object like {{}}.</think>\n\n{SKILLED}",
    ],
    ids=["prose and a fence", "braces in prose", "a list of one", "wrapped", "thoughts"],
)
def test_a_right_object_is_taken_whatever_is_wrong_around_it(llm: LlmStandIn, text: str) -> None:
    llm.fail("says", text=text)
    outcome = Attempt(llm).run(make_call(Template.RESUME_SUMMARY))
    assert outcome.result["skills"]["technical"] == ["Go"]
    assert outcome.warnings == ()
    assert llm.state["calls"] == 1


USELESS: dict[str, tuple[dict[str, Any], str]] = {
    "nonsense": ({"text": "the the of résumé and"}, "invalid_output"),
    "an empty object": ({"text": "{}"}, "empty_output"),
    "a shape without content": ({"text": json.dumps(shape_of(ResumeSummary))}, "empty_output"),
    "the schema": ({"text": json.dumps(strict_schema(ResumeSummary))}, "empty_output"),
    "another object": ({"text": json.dumps({"answer": "yes", "score": 7})}, "empty_output"),
    "a refusal": ({"text": "I'm sorry, but I can't help with that."}, "invalid_output"),
    "the data marks": (
        {"text": json.dumps({"summary": '<data-{fence} name="resume_text">'})},
        "invalid_output",
    ),
    "half an object": ({"text": SKILLED[:-2], "finish_reason": "length"}, "invalid_output"),
    "half an object, said to be whole": ({"text": f'{{"profile": {SKILLED}'}, "invalid_output"),
    "a whole one, cut off later": ({"text": SKILLED, "finish_reason": "length"}, "invalid_output"),
    "deep nesting": ({"text": '{"a":' * 20_000}, "invalid_output"),
}


@pytest.mark.parametrize("case", USELESS)
def test_a_useless_answer_is_shown_to_the_model_once_and_then_ends_the_task(
    llm: LlmStandIn, case: str
) -> None:
    """D18."""
    facts, code = USELESS[case]
    llm.fail("says", times=2, **facts)
    assert failure(llm, Template.RESUME_SUMMARY) == code
    assert llm.state["calls"] == 2


@pytest.mark.parametrize("case", USELESS)
def test_a_model_that_mends_its_useless_answer_gives_a_result(llm: LlmStandIn, case: str) -> None:
    facts, _ = USELESS[case]
    llm.fail("says", **facts)
    outcome = Attempt(llm).run(make_call(Template.RESUME_SUMMARY))
    assert outcome.result["header"]["name"] == "Mara Lindqvist"
    assert "repaired" in outcome.warnings


def test_an_answer_without_an_end_is_shown_by_its_beginning(llm: LlmStandIn) -> None:
    """The whole of it, beside the material, would not fit into a small context window."""
    llm.fail("says", text='{"summary": "' + "word " * 4000, finish_reason="length")
    Attempt(llm).run(make_call(Template.RESUME_SUMMARY))
    assert len(llm.requests[1].messages[2]["content"]) == 2_000


# Loops and limits


def test_a_streamed_text_that_repeats_itself_is_cut_off_long_before_its_limit(llm: LlmStandIn) -> None:
    """D18."""
    llm.fail("loop", text=f"{ENGLISH} and again and again and")
    attempt = Attempt(llm)
    with pytest.raises(PermanentTaskError) as failed:
        attempt.run(make_call(Template.JOB_MATCH))
    assert failed.value.code == "invalid_output"
    assert len(attempt.texts) < 1_000


def test_an_object_that_repeats_itself_is_cut_off_and_mended_or_an_error(llm: LlmStandIn) -> None:
    """D18."""
    llm.fail("loop", text='{"languages": ["English", "English", "Englis', times=2)
    assert failure(llm, Template.RESUME_SUMMARY) == "invalid_output"
    wait_until(lambda: not llm.state["running"])
    assert llm.state["closedEarly"] == llm.state["calls"]


def test_a_streamed_answer_cut_off_by_the_limit_is_a_result_with_a_warning(llm: LlmStandIn) -> None:
    llm.fail("says", text=ENGLISH, finish_reason="length")
    outcome = Attempt(llm).run(make_call(Template.JOB_MATCH))
    assert outcome.result == {"text": ENGLISH, "score": 70}
    assert outcome.warnings == ("truncated",)


@pytest.mark.parametrize("template", [Template.JOB_MATCH, Template.RESUME_SUMMARY])
@pytest.mark.parametrize(
    "message", [CONTEXT, "Requested tokens exceed context window of 8192", "Prompt 超长"]
)
def test_material_that_is_too_long_for_the_model_ends_the_task_and_says_so(
    llm: LlmStandIn, template: Template, message: str
) -> None:
    llm.fail("status", status=400, message=message, times=2)
    assert failure(llm, template) == "context_exceeded"


@pytest.mark.parametrize("template", [Template.JOB_MATCH, Template.RESUME_SUMMARY])
def test_a_server_that_finds_the_material_too_long_inside_its_stream_ends_the_task_too(
    llm: LlmStandIn, template: Template
) -> None:
    llm.fail("error_event", message=CONTEXT, after_pieces=0)
    assert failure(llm, template) == "context_exceeded"


def test_a_repair_that_is_too_long_inside_its_stream_ends_the_task_by_the_first_mistake(
    llm: LlmStandIn,
) -> None:
    llm.fail("says", text="nonsense")
    llm.fail("error_event", message=CONTEXT, after_pieces=0)
    assert failure(llm, Template.RESUME_SUMMARY) == "invalid_output"


def test_a_repair_that_does_not_fit_ends_the_task_by_the_first_mistake(llm: LlmStandIn) -> None:
    llm.fail("says", text="nonsense")
    llm.fail("status", status=400, message=CONTEXT, times=2)
    assert failure(llm, Template.RESUME_SUMMARY) == "invalid_output"


# Streamed text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_output"),
        ("score: 80\n\n", "empty_output"),
        ("<think>What do they want?", "empty_output"),
        ("ok", "invalid_output"),
        ("score: 80\n\nA good match.", "invalid_output"),
        ("I'm sorry, but I can't help with judging people, as it would be unfair to all of them.", "provider_refused"),
        ("score: 0\n\nAs an AI language model, I cannot judge a candidate and I will not do so here.", "provider_refused"),
        (f"{ENGLISH}<data-{{fence}}>", "invalid_output"),
        ("很抱歉，我无法完成这个任务。" * 10, "provider_refused"),
        (CHINESE, "invalid_output"),
    ],
)  # fmt: skip
def test_a_streamed_text_that_is_no_answer_is_an_error(llm: LlmStandIn, text: str, code: str) -> None:
    """D18."""
    llm.fail("says", text=text)
    assert failure(llm, Template.JOB_MATCH) == code


def test_english_where_chinese_was_asked_for_is_an_error(llm: LlmStandIn) -> None:
    llm.fail("says", text=ENGLISH)
    assert failure(llm, Template.JOB_MATCH, "zh") == "invalid_output"


def test_a_match_without_a_score_is_a_result_with_a_warning(llm: LlmStandIn) -> None:
    llm.fail("says", text=ENGLISH.removeprefix("score: 70\n\n"))
    outcome = Attempt(llm).run(make_call(Template.JOB_MATCH))
    assert outcome.result["score"] is None
    assert outcome.warnings == ("score_missing",)


def test_thoughts_inside_the_text_are_a_sign_of_life_and_no_text(llm: LlmStandIn) -> None:
    llm.fail("says", text=f"\n<think>\nA score? Let me see, <b>70</b>.\n</think>\n\n{ENGLISH}")
    attempt = Attempt(llm)
    outcome = attempt.run(make_call(Template.JOB_MATCH))
    assert outcome.result == {"text": ENGLISH, "score": 70}
    assert "".join(attempt.texts) == ENGLISH
    assert attempt.thoughts == 1


# JSON modes


@pytest.mark.parametrize(
    ("mode", "model", "expected"),
    [
        (JsonMode.OBJECT, Model.DEEPSEEK_CHAT, {"type": "json_object"}),
        (JsonMode.OBJECT, Model.DEEPSEEK_REASONER, None),
        (
            JsonMode.SCHEMA,
            Model.GLM_FLASH,
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "DetailedResumeSummary",
                    "strict": True,
                    "schema": strict_schema(DetailedResumeSummary),
                },
            },
        ),
        (JsonMode.SCHEMA, Model.DEEPSEEK_REASONER, None),
        (
            JsonMode.GRAMMAR,
            Model.DEEPSEEK_REASONER,
            {"type": "json_object", "schema": strict_schema(DetailedResumeSummary)},
        ),
        (JsonMode.NONE, Model.DEEPSEEK_CHAT, None),
    ],
)
def test_json_is_asked_for_as_the_provider_and_the_model_take_it(
    llm: LlmStandIn, mode: JsonMode, model: Model, expected: dict[str, Any] | None
) -> None:
    Attempt(llm, json_mode=mode).run(make_call(Template.DETAILED_RESUME_SUMMARY, model=model))
    assert llm.requests[0].raw.get("response_format") == expected


@pytest.mark.parametrize("mode", JsonMode)
def test_streamed_text_is_never_asked_for_as_json(llm: LlmStandIn, mode: JsonMode) -> None:
    Attempt(llm, json_mode=mode).run(make_call(Template.INTERVIEW_PREP))
    assert "response_format" not in llm.requests[0].raw


def test_a_server_that_refuses_the_json_mode_is_asked_without_it_at_once_and_for_the_repair(
    llm: LlmStandIn,
) -> None:
    llm.fail("no_json_mode", times=None)
    llm.fail("says", text="nonsense")
    with logging_to(Log()) as log:
        outcome = Attempt(llm, json_mode=JsonMode.SCHEMA).run(make_call(Template.RESUME_SUMMARY))
    assert outcome.result["header"]["name"] == "Mara Lindqvist"
    assert ["response_format" in request.raw for request in llm.requests] == [True, False, False]
    assert len(log.told("json_mode_refused")) == 1


def test_a_request_that_is_refused_for_another_reason_is_sent_twice_at_most(llm: LlmStandIn) -> None:
    llm.fail("status", status=400, times=None)
    assert failure(llm, Template.RESUME_SUMMARY) == "provider_refused"
    assert llm.state["calls"] == 2
