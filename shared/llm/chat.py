"""The provider's side of the chain: ChatOpenAI, with a stream that we parse ourselves.

`langchain_openai` as it comes builds pydantic objects for each token only to dump them again (70 % of its
cost), drops `reasoning_content`, takes a stream that breaks off for a finished one, and sends
`max_completion_tokens`, which DeepSeek and GLM do not know. So streaming is ours, below the same chain: the
SDK sends the request, over a connection of ours, and checks its status; we read.

Importing this module costs about a second: only the runner does, on its first call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx2
import openai
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI

from shared.config import ProviderSettings
from shared.errors import RetryableTaskError
from shared.llm.event_stream import events_of
from shared.llm.formats import response_format
from shared.llm.stop import StopSignal
from shared.llm.templates import Spec
from shared.llm.thoughts import ThoughtFilter
from shared.llm.transport import StreamTransport
from shared.logs import LogEvent, event
from shared.routing import Model

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
THINKING = "reasoning_content"
REFUSAL = "refusal"
NO_CLIENT = object()
"""Stands where a model's settings have a client, so that none is built; each attempt brings its own."""


class ProviderChat(ChatOpenAI):
    """A model at an OpenAI-compatible provider; streams text, signs of thinking, usage and why it ended."""

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,  # noqa: ARG002 - tells who else listens: nobody
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream an answer without LangChain's bookkeeping for tracers and callbacks: there are none.

        That would wrap every token once more, keep all of them, and merge them at the end into a message that
        nobody reads: a third of what a token costs.
        """
        return self._answer(self._convert_input(input).to_messages(), stop=stop, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """Stream with the bookkeeping, for every other way into a LangChain model."""
        for chunk in self._answer(messages, stop=stop, **kwargs):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text)
            yield ChatGenerationChunk(message=chunk)

    def _answer(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[AIMessageChunk]:
        payload = self._get_request_payload(messages, stream=True, **kwargs)
        payload["max_tokens"] = payload.pop("max_completion_tokens")
        payload["stream_options"] = {"include_usage": True}
        finished, thoughts = False, ThoughtFilter()
        for piece in self._events(payload):
            chunk = _message_chunk(piece, thoughts)
            finished = finished or "finish_reason" in chunk.response_metadata
            yield chunk
        if not finished:
            raise RetryableTaskError("provider_disconnected", "The model's answer broke off.")

    def _events(self, payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self._ask(payload) as answer:
            yield from events_of(answer.response.iter_bytes())

    def _ask(self, payload: dict[str, Any]) -> openai.Stream[object]:
        """Send a request; one that is refused goes out once more without its `response_format`.

        What is lost is a help to the model, no guarantee: the prompt asks for JSON too, and every answer is
        validated. A request that was refused for another reason is refused again, at no cost.
        """
        extra = payload.pop("extra_body", None) or {}
        try:
            return self._post(payload | extra)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if not extra:
                raise
        answer = self._post(payload)
        event(log, LogEvent.JSON_MODE_REFUSED, model=self.model_name)
        self.extra_body = None  # for a repair, which is a second call
        return answer

    def _post(self, body: dict[str, Any]) -> openai.Stream[object]:
        """Send a body as it is: `completions.create` looks for names to translate, for a millisecond."""
        client: openai.OpenAI = self.root_client
        return client.post(
            "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=openai.Stream[object]
        )


@contextmanager
def open_chat(
    provider: ProviderSettings,
    model: Model,
    spec: Spec,
    stop: StopSignal,
    idle_seconds: float,
    *,
    transport: httpx2.BaseTransport | None = None,
) -> Iterator[ProviderChat]:
    """Give a model within a template's limits, on a connection of its own that `stop` can shut down.

    A `transport` reaches the provider in another way, which `stop` knows nothing of.
    """
    timeout = httpx2.Timeout(idle_seconds, connect=min(CONNECT_SECONDS, idle_seconds))

    transport = transport or StreamTransport(stop)
    with httpx2.Client(transport=transport, trust_env=False, timeout=timeout) as client:
        sdk = openai.OpenAI(
            api_key=provider.api_key,
            base_url=provider.base_url,
            http_client=client,
            timeout=timeout,
            max_retries=0,
        )
        clients = {"root_client": sdk, "client": sdk.chat.completions, "async_client": sdk}
        yield _chat_without_client(provider, model, spec).model_copy(update=clients)


@cache
def _chat_without_client(provider: ProviderSettings, model: Model, spec: Spec) -> ProviderChat:
    """Return what each attempt's model is a copy of: to check a model's settings takes a millisecond."""
    asked = response_format(spec.output, model, provider.json_mode)
    return ProviderChat(
        model=model,
        api_key=lambda: provider.api_key,
        root_client=NO_CLIENT,
        client=NO_CLIENT,
        async_client=NO_CLIENT,  # left out, it builds an async client's TLS
        max_tokens=spec.max_tokens,  # type: ignore[call-arg]  # its alias is max_completion_tokens
        temperature=spec.temperature,
        extra_body={"response_format": asked} if asked else None,
    )


def _message_chunk(event: dict[str, Any], thoughts: ThoughtFilter) -> AIMessageChunk:
    choice = (event.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    reason, usage, refused = choice.get("finish_reason"), event.get("usage"), delta.get(REFUSAL)
    text = thoughts.visible(delta.get("content") or "") + (thoughts.rest() if reason else "")
    more: dict[str, Any] = {}  # pydantic takes time over every field, also over one that says nothing
    if delta.get(THINKING) or thoughts.thinking:
        more["additional_kwargs"] = {THINKING: "…"}
    if reason or refused:
        more["response_metadata"] = {"finish_reason": REFUSAL if refused else reason}
    if usage:
        more["usage_metadata"] = _usage(usage)
    return AIMessageChunk(content=text, **more)


def _usage(usage: dict[str, Any]) -> UsageMetadata:
    tokens_in, tokens_out = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    told = UsageMetadata(
        input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out
    )
    # Of these the provider had some in its cache: as OpenAI and GLM say it, or as DeepSeek does.
    details = usage.get("prompt_tokens_details") or {}
    if cached := details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens"):
        told["input_token_details"] = {"cache_read": min(cached, tokens_in)}
    return told
