"""A weak model behind the lanes: what can be rescued is a result, what cannot is a clean error and costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.frontend import JOB, RESUME, Frontend, Reader, assert_at_rest
from devstack.stack import Stack

SKILLED = json.dumps({"skills": {"technical": ["Go"]}})


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, first_token_ms=0, tokens_per_second=2_000) as running:
        yield running


@pytest.fixture
def frontend(stack: Stack, user: str) -> Iterator[Frontend]:
    stack.llm.heal()
    yield Frontend(stack, user)
    stack.llm.heal()
    assert_at_rest(stack)


@pytest.mark.parametrize(
    ("text", "code"),
    [("the the of résumé", "invalid_output"), ("{}", "empty_output"), (SKILLED[:-3], "invalid_output")],
)
def test_an_upload_answered_with_nonsense_twice_ends_in_a_refunded_error_without_another_attempt(
    frontend: Frontend, text: str, code: str
) -> None:
    """D18: not `done`, not an endless retry, and not paid for."""
    before = frontend.balance()
    frontend.stack.llm.fail("says", text=text, times=2)
    ended = frontend.outcome(frontend.act("upload-resume", {"text": RESUME, "locale": "en"}))
    assert (ended["state"], ended["error"]["code"]) == ("failed", code)
    assert (ended["refunded"], ended["attempt"]) == (True, 1)
    assert frontend.balance() == before
    assert "Mei Lin" not in json.dumps(ended["error"])


def test_an_upload_answered_in_prose_and_then_badly_is_rescued(frontend: Frontend) -> None:
    frontend.stack.llm.fail("says", text="I would rather chat about it.")
    frontend.stack.llm.fail("says", text=f"Of course! Here it is:\n```json\n{SKILLED}\n```\nEnjoy.")
    ended = frontend.outcome(frontend.act("upload-resume", {"text": RESUME, "locale": "en"}))
    assert ended["state"] == "done"
    assert ended["result"]["skills"]["technical"] == ["Go"]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"kind": "says", "text": "I'm sorry, but I can't help with that."}, "provider_refused"),
        ({"kind": "says", "text": "score: 80\n\n"}, "empty_output"),
        ({"kind": "loop", "text": "score: 80\n\nYou fit well and you fit well and"}, "invalid_output"),
        ({"kind": "status", "status": 400, "message": "maximum context length is 4096"}, "context_exceeded"),
    ],
)
def test_a_stream_of_nonsense_ends_with_an_error_event_and_the_price_back(
    frontend: Frontend, facts: dict[str, Any], code: str
) -> None:
    """D18."""
    frontend.with_resume()
    before = frontend.balance()
    frontend.stack.llm.fail(**facts)
    accepted = frontend.act("create-service", {"jobText": JOB, "locale": "en"})
    reader = Reader(accepted["streamUrl"]).wait()
    last = reader.all[-1]
    assert (last["type"], last["code"], last["refunded"]) == ("error", code, True)
    assert frontend.balance() == before
    assert "retrying" not in reader.types
