"""The one runner: a template, a model and its material in; streamed text or one validated object out.

    prompt | model | reader     LCEL; structured answers are streamed too, so that silence and a stop are seen

The attempt's owner gives callbacks for what a user may see, and a StopSignal. LangChain is imported on the
first call, never at import: it costs a second, and most requests of a cold start end before they need it.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.config import ProviderSettings
from shared.errors import PermanentTaskError, RetryableTaskError, SluiceError, TaskError
from shared.llm.answers import UnusableAnswer, check_text, parse_output, parse_score
from shared.llm.failures import as_task_error, exceeds_context
from shared.llm.models import Output
from shared.llm.observing import asked
from shared.llm.prompts import Locale, TemplateCall, fill, load_prompt, load_repair
from shared.llm.reader import LOOP, Reader, TalksOn
from shared.llm.stop import StopSignal
from shared.llm.templates import SPECS, Spec
from shared.llm.usage import Usage
from shared.logs import LogEvent, event
from shared.routing import Template

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.prompts import ChatPromptTemplate

__all__ = ["Outcome", "StopSignal", "TemplateCall", "run_template", "warm"]

log = logging.getLogger(__name__)
_REFUSED = frozenset({"content_filter", "sensitive", "refusal"})
_CUT = frozenset({"length", LOOP})
_CUT_SHOWN_LENGTH = 2_000
_BROKEN = frozenset({"insufficient_system_resource", "network_error"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """A template's result, what it used, and what was odd about it."""

    result: dict[str, Any]
    """The object (camelCase) of a structured template, `{"text", "score"?}` of a streamed one."""
    usage: dict[str, Any]
    first_token_ms: int | None
    warnings: tuple[str, ...]


def run_template(
    call: TemplateCall,
    *,
    provider: ProviderSettings,
    stop: StopSignal,
    on_text: Callable[[str], None],
    on_thinking: Callable[[], None],
    idle_seconds: float,
) -> Outcome:
    """Run one template to its end; `on_text` hears streamed templates only.

    Raises:
        RetryableTaskError: the provider failed, was silent for `idle_seconds`, or broke off.
        PermanentTaskError: it refused, or its answer cannot be used, also after one repair.
        Exception: whatever `stop` was stopped with, or a callback raised. The connection is closed.
    """
    spec = SPECS[call.template]
    reader = Reader(on_text if spec.output is None else _ignore, on_thinking, spec.max_tokens)
    try:
        stop.raise_if_stopped()
        result = _run(call, spec, provider, stop, reader, idle_seconds)
        stop.raise_if_stopped()
    except Exception as error:
        failure = _failure(error, stop)
        if isinstance(failure, TaskError) and reader.usage != Usage():
            failure.usage = reader.used(call.model)
        if failure is error:
            raise
        raise failure from error
    return Outcome(result, reader.used(call.model), reader.first_token_ms, tuple(reader.warnings))


def _failure(error: Exception, stop: StopSignal) -> Exception:
    """Return what an attempt failed by: whatever stopped it, a task's error, or the error as it is."""
    if stop.error is not None:
        return stop.error
    if isinstance(error, SluiceError):
        return error
    return as_task_error(error) or error


def warm(template: Template) -> None:
    """Load what the first call needs: a second or more that its user does not have to wait for.

    Args:
        template: one that this function serves; it is rehearsed.
    """
    from shared.llm.rehearsal import rehearsed
    from shared.llm.transport import provider_certificates

    with rehearsed(template) as (call, chat):
        _ask(chat, _prompt(call), fill(call), Reader(_ignore, lambda: None, max_texts=1))
    provider_certificates()


def _run(
    call: TemplateCall,
    spec: Spec,
    provider: ProviderSettings,
    stop: StopSignal,
    reader: Reader,
    idle_seconds: float,
) -> dict[str, Any]:
    from langsmith import tracing_context

    from shared.llm.chat import open_chat

    # Tracing would be switched on by a variable of the environment, and sends users' texts to a third party.
    with tracing_context(enabled=False), open_chat(provider, call.model, spec, stop, idle_seconds) as chat:
        if spec.output is None:
            values = fill(call)
            with asked(call, provider, reader):
                _ask(chat, _prompt(call), values, reader)
            return _streamed(call, reader, values["fence"])
        output = _structured(call, spec.output, provider, chat, reader)
        if spec.check is not None:
            spec.check(output, call.inputs, call.locale)
        return output.to_json()


def _ask(chat: BaseChatModel, prompt: ChatPromptTemplate, values: dict[str, str], reader: Reader) -> None:
    from langchain_core.runnables import RunnableGenerator

    last: RunnableGenerator[AIMessage, str] = RunnableGenerator(reader.read)
    chain = prompt | chat | last
    with suppress(TalksOn), closing(chain.stream(values)) as pieces:  # type: ignore[type-var]  # a generator
        for _ in pieces:
            pass
    if reader.finish_reason in _REFUSED:
        raise PermanentTaskError("provider_refused", "The model's provider refused this content.")
    if reader.finish_reason in _BROKEN:
        raise RetryableTaskError("provider_error", "The model's provider failed in mid-answer.")


def _streamed(call: TemplateCall, reader: Reader, fence: str) -> dict[str, Any]:
    text = reader.text
    if reader.finish_reason == LOOP:
        raise PermanentTaskError("invalid_output", "The model repeated itself without an end.")
    if fence in text:
        raise PermanentTaskError("invalid_output", "The model repeated its instructions.")
    check_text(text, call.locale)
    if reader.finish_reason == "length":
        reader.warnings.append("truncated")
    if call.template is not Template.JOB_MATCH:
        return {"text": text}
    score = parse_score(text)
    if score is None:
        reader.warnings.append("score_missing")
    return {"text": text, "score": score}


def _structured(
    call: TemplateCall, output: type[Output], provider: ProviderSettings, chat: BaseChatModel, reader: Reader
) -> Output:
    """Ask for an object; show the model its mistake once, then give up."""
    import openai
    from langchain_core.prompts import ChatPromptTemplate

    prompt, values = _prompt(call), fill(call)
    with asked(call, provider, reader):
        _ask(chat, prompt, values, reader)
    try:
        return _parsed(reader, output, values["fence"])
    except UnusableAnswer as unusable:
        first = unusable
    reader.warnings.append("repaired")
    # No word of the answer: it is made of a user's material.
    told = {"template": call.template, "model": call.model, "finish_reason": reader.finish_reason or None}
    event(log, LogEvent.ANSWER_REPAIRED, told, error=first.code)
    again = prompt + ChatPromptTemplate([("ai", "{answer}"), ("human", load_repair(call.locale))])
    try:
        with asked(call, provider, reader):
            _ask(chat, again, values | {"answer": _shown(reader), "problems": first.problems}, reader)
        return _parsed(reader, output, values["fence"])
    except UnusableAnswer as unusable:
        raise unusable.to_task_error() from None
    except (openai.APIStatusError, PermanentTaskError) as error:
        # The material fitted, so it is no fault of the material's when the mistake beside it does not.
        raise (first.to_task_error() if exceeds_context(error) else error) from None


def _shown(reader: Reader) -> str:
    """Return what a model is shown of its answer: of one without an end, the beginning."""
    text = reader.text or "{}"
    return text if reader.finish_reason not in _CUT else text[:_CUT_SHOWN_LENGTH]


def _parsed(reader: Reader, output: type[Output], fence: str) -> Output:
    """Read the answer; one that holds the material's marks is made of the prompt, not of the material."""
    if fence in reader.text:
        raise UnusableAnswer("invalid_output", "The answer repeats the data marks. Leave them out.")
    return parse_output(reader.text, output, truncated=reader.finish_reason in _CUT)


def _prompt(call: TemplateCall) -> ChatPromptTemplate:
    from langchain_core.prompts import ChatPromptTemplate

    if not SPECS[call.template].takes_image:
        return _text_prompt(call.template, call.locale)
    prompt = load_prompt(call.template, call.locale)
    data = base64.b64encode(call.inputs["image"]).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:{call.inputs['image_type']};base64,{data}"}}
    return ChatPromptTemplate(
        [("system", prompt.system), ("human", [{"type": "text", "text": prompt.user}, image])]
    )


@cache
def _text_prompt(template: Template, locale: Locale) -> ChatPromptTemplate:
    """Return a prompt without an image: LangChain takes it apart, and describes it, once for all calls."""
    from langchain_core.prompts import ChatPromptTemplate

    prompt = load_prompt(template, locale)
    return ChatPromptTemplate([("system", prompt.system), ("human", prompt.user)])


def _ignore(_text: str) -> None:
    """Structured answers are not streamed to a reader."""
