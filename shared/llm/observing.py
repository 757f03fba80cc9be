"""What a lane tells of each request to a model, by the conventions for generative AI; or nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from shared.config import ProviderSettings
from shared.errors import SluiceError
from shared.llm.failures import as_task_error
from shared.llm.prompts import TemplateCall
from shared.llm.reader import Reader
from shared.llm.templates import SPECS
from shared.llm.usage import Usage
from shared.telemetry import instruments
from shared.telemetry.attributes import Attribute
from shared.telemetry.signals import Attributes, Span, signals
from shared.telemetry.spans import CHAT

_WORD = re.compile(r"[a-z_]{1,40}")
"""What a provider's reason looks like; anything else may be a text."""


@contextmanager
def asked(call: TemplateCall, provider: ProviderSettings, reader: Reader) -> Iterator[None]:
    """Observe one request to `call`'s model, whose answer `reader` reads within the block."""
    if not signals().on:
        yield
        return
    model = {
        Attribute.AI_OPERATION: "chat",
        Attribute.AI_PROVIDER: call.model.provider,
        Attribute.AI_MODEL: call.model,
    }
    before, had_token = reader.usage, reader.first_token_ms is not None
    began, error = time.monotonic(), None
    with signals().span(CHAT, f"chat {call.model}", attributes={**model, **_request(call, provider)}) as span:
        try:
            yield
        except Exception as failure:
            error = _error_of(failure)
            span.fail(error)
            raise
        finally:
            used = Usage(
                reader.usage.prompt_tokens - before.prompt_tokens,
                reader.usage.completion_tokens - before.completion_tokens,
                reader.usage.cached_tokens - before.cached_tokens,
            )
            _tell(span, reader, used, first_token=not had_token)
            _measure(model, used, time.monotonic() - began, error)


def _request(call: TemplateCall, provider: ProviderSettings) -> Attributes:
    spec, address = SPECS[call.template], urlsplit(provider.base_url)
    return {
        Attribute.AI_MAX_TOKENS: spec.max_tokens,
        Attribute.AI_TEMPERATURE: spec.temperature,
        Attribute.AI_STREAM: True,
        Attribute.AI_OUTPUT: "text" if spec.output is None else "json",
        Attribute.SERVER: address.hostname,
        Attribute.PORT: address.port or {"https": 443, "http": 80}.get(address.scheme),
    }


def _tell(span: Span, reader: Reader, used: Usage, *, first_token: bool) -> None:
    if reason := reader.finish_reason:
        span.set(Attribute.AI_FINISH, [reason if _WORD.fullmatch(reason) else "other"])
    if used.completion_tokens:
        span.set(Attribute.AI_INPUT_TOKENS, used.prompt_tokens)
        span.set(Attribute.AI_OUTPUT_TOKENS, used.completion_tokens)
        span.set(Attribute.AI_CACHED_TOKENS, used.cached_tokens)
    if first_token and reader.first_token_ms is not None:
        span.set(Attribute.FIRST_TOKEN, reader.first_token_ms / 1000)


def _measure(model: Attributes, used: Usage, seconds: float, error: str | None) -> None:
    listener = signals()
    listener.record(instruments.CHAT_DURATION, seconds, {**model, Attribute.ERROR: error})
    if not used.completion_tokens:
        return
    for kind, tokens in (("input", used.prompt_tokens), ("output", used.completion_tokens)):
        listener.record(instruments.TOKEN_USAGE, tokens, {**model, Attribute.AI_TOKEN_TYPE: kind})
    rate = used.completion_tokens / max(seconds, 1e-3)
    listener.record(instruments.OUTPUT_RATE, rate, {Attribute.AI_MODEL: model[Attribute.AI_MODEL]})


def _error_of(failure: Exception) -> str:
    """Return an error's public code, or what kind of error it is; a provider's own words stay out."""
    known = failure if isinstance(failure, SluiceError) else as_task_error(failure)
    return known.code if known else type(failure).__qualname__
