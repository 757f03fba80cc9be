"""What goes wrong at a provider, and what it becomes: another attempt, or the task's end (D18: never a `done`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any

import pytest

from devstack.llm import LlmStandIn
from shared.errors import PermanentTaskError, RetryableTaskError
from shared.llm.runner import Outcome
from shared.routing import Template
from tests.integration.llm_kit import Attempt, make_call, wait_until


@pytest.fixture
def llm() -> Iterator[LlmStandIn]:
    with LlmStandIn() as stand_in:
        yield stand_in


RETRYABLE: list[tuple[str, dict[str, Any], str]] = [
    ("status", {"status": 429}, "provider_rate_limited"),
    ("status", {"status": 500}, "provider_error"),
    ("status", {"status": 503}, "provider_error"),
    ("status", {"status": 408}, "provider_error"),
    ("hang", {}, "provider_timeout"),
    ("silence", {}, "provider_timeout"),
    ("cut", {}, "provider_disconnected"),
    ("cut", {"after_pieces": 0}, "provider_disconnected"),
    ("unfinished", {}, "provider_disconnected"),
    ("garbled", {}, "provider_error"),
    ("invalid_utf8", {}, "provider_error"),
    ("error_event", {}, "provider_error"),
]


@pytest.mark.parametrize("template", [Template.JOB_MATCH, Template.RESUME_SUMMARY])
@pytest.mark.parametrize(("kind", "facts", "code"), RETRYABLE)
def test_a_passing_fault_asks_for_another_attempt(
    llm: LlmStandIn, template: Template, kind: str, facts: dict[str, Any], code: str
) -> None:
    """D18."""
    llm.fail(kind, **facts)
    with pytest.raises(RetryableTaskError) as failed:
        Attempt(llm, idle_seconds=0.5).run(make_call(template))
    assert failed.value.code == code
    assert llm.state["calls"] == 1  # the SDK's own retries are off: the queue decides
    wait_until(lambda: not llm.state["running"])


PERMANENT: list[tuple[Template, str, dict[str, Any], str]] = [
    (Template.JOB_MATCH, "status", {"status": 400}, "provider_refused"),
    (Template.JOB_MATCH, "status", {"status": 401}, "provider_refused"),
    (Template.JOB_MATCH, "status", {"status": 402}, "provider_refused"),
    (Template.JOB_MATCH, "filtered", {}, "provider_refused"),
    (Template.RESUME_SUMMARY, "filtered", {}, "provider_refused"),
    (Template.JOB_MATCH, "empty", {}, "empty_output"),
    (Template.JOB_MATCH, "tool_call", {}, "empty_output"),
    (Template.RESUME_SUMMARY, "empty", {"times": 2}, "empty_output"),
    (Template.RESUME_SUMMARY, "tool_call", {"times": 2}, "empty_output"),
    (Template.RESUME_SUMMARY, "bad_json", {"times": 2}, "invalid_output"),
]


@pytest.mark.parametrize(("template", "kind", "facts", "code"), PERMANENT)
def test_a_fault_that_no_attempt_can_pass_ends_the_task(
    llm: LlmStandIn, template: Template, kind: str, facts: dict[str, Any], code: str
) -> None:
    """D18."""
    llm.fail(kind, **facts)
    with pytest.raises(PermanentTaskError) as failed:
        Attempt(llm).run(make_call(template))
    assert failed.value.code == code


@pytest.mark.parametrize("kind", ["bad_json", "empty", "tool_call"])
def test_an_unusable_structured_answer_is_repaired_once(llm: LlmStandIn, kind: str) -> None:
    llm.fail(kind)
    outcome = Attempt(llm).run(make_call(Template.RESUME_SUMMARY))
    assert outcome.result["header"]["name"] == "Mara Lindqvist"
    assert outcome.warnings == ("repaired",)
    assert llm.state["calls"] == 2


def test_the_repair_shows_the_model_its_answer_and_its_mistake(llm: LlmStandIn) -> None:
    llm.fail("bad_json")
    Attempt(llm).run(make_call(Template.RESUME_SUMMARY, "zh"))
    first, second = llm.requests
    assert second.messages[:2] == first.messages
    assert [m["role"] for m in second.messages[2:]] == ["assistant", "user"]
    assert second.messages[2]["content"].startswith("Certainly!")
    assert "not valid JSON" in second.messages[3]["content"]


def test_the_usage_of_a_repaired_answer_counts_both_calls(llm: LlmStandIn) -> None:
    once = Attempt(llm).run(make_call(Template.RESUME_SUMMARY)).usage
    llm.fail("bad_json")
    twice: Outcome = Attempt(llm).run(make_call(Template.RESUME_SUMMARY))
    assert twice.usage["promptTokens"] > 2 * once["promptTokens"]


def test_an_answer_cut_off_by_the_limit_is_no_structured_result(llm: LlmStandIn) -> None:
    llm.pace.tokens_per_second = 20_000
    llm.fail("endless", times=2)
    with pytest.raises(PermanentTaskError) as failed:
        Attempt(llm).run(make_call(Template.JOB_VISION_SUMMARY))
    assert failed.value.code == "invalid_output"


@pytest.mark.parametrize(("status", "code"), [(429, "provider_rate_limited"), (503, "provider_error")])
def test_the_provider_s_seconds_to_wait_are_passed_on(llm: LlmStandIn, status: int, code: str) -> None:
    """D37."""
    llm.fail("status", status=status, retry_after="7")
    with pytest.raises(RetryableTaskError) as failed:
        Attempt(llm).run(make_call(Template.JOB_MATCH))
    assert (failed.value.code, failed.value.retry_after_seconds) == (code, 7)


def test_the_provider_s_date_to_wait_for_is_passed_on_as_seconds(llm: LlmStandIn) -> None:
    """D37."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    llm.fail("status", status=429, retry_after=format_datetime(moment, usegmt=True))
    with pytest.raises(RetryableTaskError) as failed:
        Attempt(llm).run(make_call(Template.JOB_MATCH))
    assert failed.value.retry_after_seconds in range(30, 92)


@pytest.mark.parametrize("facts", [{"status": 400, "times": 2}, {"status": 429}])
def test_an_error_s_text_never_holds_a_user_s_words_or_the_provider_s(
    llm: LlmStandIn, facts: dict[str, Any]
) -> None:
    """D38."""
    llm.fail("status", **facts)
    with pytest.raises((RetryableTaskError, PermanentTaskError)) as failed:
        Attempt(llm).run(make_call(Template.RESUME_SUMMARY, resume_text="Secret Name"))
    assert "Secret" not in str(failed.value)
    assert "asked for" not in str(failed.value)


def test_a_provider_that_is_not_there_asks_for_another_attempt() -> None:
    with LlmStandIn() as gone:
        attempt = Attempt(gone)
    with pytest.raises(RetryableTaskError) as failed:
        attempt.run(make_call(Template.JOB_MATCH))
    assert failed.value.code == "provider_disconnected"
