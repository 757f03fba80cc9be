"""The whole flow with a real small model: opt-in, since it compiles llama.cpp and takes minutes.

    SLUICE_LOCAL_LLM=1 .venv/bin/pytest tests/e2e/test_local_model.py -s

A model of 135 million parameters may fail at any task. The rule is that each ends in a result that holds
something, or in a refunded error of the few kinds that a weak model's answer may come to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.frontend import JOB, RESUME, Frontend, advertisement, assert_at_rest
from devstack.llm.local import VARIABLES, LocalModel
from devstack.llm.local_setup import prepare
from devstack.stack import Stack
from shared.llm.models import ResumeSummary

pytestmark = [
    pytest.mark.skipif("SLUICE_LOCAL_LLM" not in os.environ, reason="opt-in: SLUICE_LOCAL_LLM=1"),
    pytest.mark.timeout(3_600),
]
WEAK = {"invalid_output", "empty_output", "provider_refused", "context_exceeded"}
TASK_SECONDS = 900  # two cores that are busy with something else too
JOB_ZH = "平台工程师，新加坡。你将设计并运行我们的事件平台。要求：五年 Python 和 Redis 经验，了解 Kafka。计算机本科学历。"
RESUME_ZH = """林美 mei.lin@example.com
资深后端工程师，八年支付行业经验。
北风支付，高级工程师，2021 年至 2026 年：主导账本重构，使用 Python、PostgreSQL、Redis、Kafka。
新加坡国立大学，计算机科学学士，2018 年
"""


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    with (
        LocalModel(prepare(print), build_folder / "logs" / "local_llm.log", print) as model,
        Stack(
            build_folder=build_folder,
            overrides={**VARIABLES, "INITIAL_QUOTA": "40"},
            provider_environment=model.provider_environment,
        ) as running,
    ):
        yield running


def ended(frontend: Frontend, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """Run an action to its end, which must be one of the two good ones."""
    accepted = frontend.act(action, body)
    outcome = frontend.outcome(accepted, TASK_SECONDS)
    print(action, outcome["state"], outcome.get("error") or str(outcome["result"])[:300])  # noqa: T201  # to be read, by -s
    if outcome["state"] == "failed":
        assert outcome["error"]["code"] in WEAK
        assert outcome["refunded"]
    else:
        assert outcome["state"] == "done"
        assert outcome["attempt"] == 1
    return accepted | outcome


def until_done(frontend: Frontend, action: str, body: dict[str, Any], tries: int = 10) -> dict[str, Any]:
    """Ask again while the model fails, as a user would; what comes next needs this result."""
    for _ in range(tries):
        if (outcome := ended(frontend, action, body))["state"] == "done":
            return outcome
    raise AssertionError(f"{action} failed {tries} times")


def test_a_real_model_takes_a_user_from_the_resume_to_the_interview(stack: Stack, user: str) -> None:
    frontend = Frontend(stack, user)
    summary = until_done(frontend, "upload-resume", {"text": RESUME, "locale": "en"})["result"]
    assert not ResumeSummary.model_validate(summary).is_empty
    ended(frontend, "upload-detailed-resume", {"text": RESUME * 2, "locale": "en"})
    service = until_done(frontend, "create-service", {"jobText": JOB, "locale": "en"})
    assert len(service["result"]["text"]) >= 80
    for action in ("customize-resume", "interview-tips"):
        ended(frontend, action, {"serviceId": service["serviceId"], "locale": "en"})
    frontend.balance()
    assert_at_rest(stack)


def test_chinese_ends_well_too_or_is_refunded(stack: Stack, user: str) -> None:
    frontend = Frontend(stack, user)
    ended(frontend, "upload-resume", {"text": RESUME_ZH, "locale": "zh"})
    until_done(frontend, "upload-resume", {"text": RESUME, "locale": "en"})
    ended(frontend, "create-service", {"jobText": JOB_ZH, "locale": "zh"})
    frontend.balance()
    assert_at_rest(stack)


def test_a_picture_is_refused_and_refunded_at_once(stack: Stack, user: str) -> None:
    frontend = Frontend(stack, user)
    until_done(frontend, "upload-resume", {"text": RESUME, "locale": "en"})
    outcome = ended(frontend, "create-service", {"jobImage": advertisement(), "locale": "en"})
    assert outcome["error"]["code"] == "provider_refused"
    assert_at_rest(stack)
