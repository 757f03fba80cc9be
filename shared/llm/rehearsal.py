"""A call that reaches nobody: libraries build at their first use what they have not built at their import.

It is a hundred milliseconds of a first task: validators of classes, headers of requests, prompts parsed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from langsmith import tracing_context

from shared.config import JsonMode, ProviderSettings
from shared.llm.chat import ProviderChat, open_chat
from shared.llm.prompts import TemplateCall
from shared.llm.stop import StopSignal
from shared.llm.templates import SPECS
from shared.routing import Model, Template

NOBODY = ProviderSettings("http://nobody.invalid", "no key", JsonMode.OBJECT)
_ANSWER = (
    b'data: {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}],'
    b' "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n'
    b"data: [DONE]\n\n"
)
_CALL = TemplateCall(
    Template.INTERVIEW_PREP,
    Model.DEEPSEEK_CHAT,
    "en",
    dict.fromkeys(SPECS[Template.INTERVIEW_PREP].inputs, "-"),
    dt.date(2026, 1, 1),
)


@contextmanager
def rehearsed() -> Iterator[tuple[TemplateCall, ProviderChat]]:
    """Give a call, and a model that answers it with one word."""
    headers = {"content-type": "text/event-stream"}
    nobody = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=_ANSWER))
    spec = SPECS[_CALL.template]
    with (
        tracing_context(enabled=False),
        open_chat(NOBODY, _CALL.model, spec, StopSignal(), 1.0, transport=nobody) as chat,
    ):
        yield _CALL, chat
