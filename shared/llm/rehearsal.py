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
from shared.routing import ROUTES, Template, Tier

NOBODY = ProviderSettings("http://nobody.invalid", "no key", JsonMode.OBJECT)
_ANSWER = (
    b'data: {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}],'
    b' "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n'
    b"data: [DONE]\n\n"
)


@contextmanager
def rehearsed(template: Template) -> Iterator[tuple[TemplateCall, ProviderChat]]:
    """Give a call of a template, and a model that answers it with one word.

    Args:
        template: one that this function serves: a bundle has the prompts of no other.
    """
    headers = {"content-type": "text/event-stream"}
    nobody = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=_ANSWER))
    spec, model = SPECS[template], ROUTES[template, Tier.FREE].model
    call = TemplateCall(template, model, "en", _stand_ins(template), dt.date(2026, 1, 1))
    with (
        tracing_context(enabled=False),
        open_chat(NOBODY, model, spec, StopSignal(), 1.0, transport=nobody) as chat,
    ):
        yield call, chat


def _stand_ins(template: Template) -> dict[str, str | bytes]:
    spec = SPECS[template]
    return {name: b"-" if spec.takes_image and name == "image" else "-" for name in spec.inputs}
