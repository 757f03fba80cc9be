"""The provider's side of the chain: ChatOpenAI, with a stream that we parse ourselves.

`langchain_openai` as it comes builds pydantic objects for each token only to dump them again (70 % of its
cost), drops `reasoning_content`, takes a stream that breaks off for a finished one, and sends
`max_completion_tokens`, which DeepSeek and GLM do not know. So the one method that streams is ours: the SDK
sends the request and checks its status, we read.

Importing this module costs about a second: only the runner does, on its first call.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx2
import openai
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from shared.config import ProviderSettings
from shared.errors import RetryableTaskError
from shared.llm.failures import event_error
from shared.llm.formats import response_format
from shared.llm.stop import StopSignal
from shared.llm.templates import Spec
from shared.llm.thoughts import ThoughtFilter
from shared.routing import Model

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
THINKING = "reasoning_content"
REFUSAL = "refusal"


class ProviderChat(ChatOpenAI):
    """A model at an OpenAI-compatible provider; streams text, signs of thinking, usage and why it ended."""

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        payload = self._get_request_payload(messages, stop=stop, stream=True, **kwargs)
        payload["max_tokens"] = payload.pop("max_completion_tokens")
        payload["stream_options"] = {"include_usage": True}
        finished, thoughts = False, ThoughtFilter()
        for data in self._events(payload):
            chunk = _message_chunk(data, thoughts)
            finished = finished or "finish_reason" in chunk.response_metadata
            if run_manager:
                run_manager.on_llm_new_token(chunk.text)
            yield ChatGenerationChunk(message=chunk)
        if not finished:
            raise RetryableTaskError("provider_disconnected", "The model's answer broke off.")

    def _events(self, payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a request; one that is refused goes out once more without its `response_format`.

        What is lost is a help to the model, no guarantee: the prompt asks for JSON too, and every answer is
        validated. A request that was refused for another reason is refused again, at no cost.
        """
        create = self.root_client.chat.completions.with_streaming_response.create
        try:
            with create(**payload) as response:
                yield from events_of(response.iter_bytes())
                return
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if payload.pop("extra_body", None) is None:
                raise
        with create(**payload) as response:
            log.warning("%s refuses the response_format (json_mode_refused)", self.model_name)
            self.extra_body = None  # for a repair, which is a second call
            yield from events_of(response.iter_bytes())


@contextmanager
def open_chat(
    provider: ProviderSettings, model: Model, spec: Spec, stop: StopSignal, idle_seconds: float
) -> Iterator[ProviderChat]:
    """Give a model within a template's limits, on a connection of its own that `stop` can shut down."""
    asked = response_format(spec.output, model, provider.json_mode)
    timeout = httpx2.Timeout(idle_seconds, connect=min(CONNECT_SECONDS, idle_seconds))

    def watch(request: httpx2.Request) -> None:
        request.extensions["trace"] = lambda name, info: _attach(stop, name, info)

    with httpx2.Client(
        verify=_ssl_context(), trust_env=False, timeout=timeout, event_hooks={"request": [watch]}
    ) as client:
        sdk = openai.OpenAI(
            api_key=provider.api_key,
            base_url=provider.base_url,
            http_client=client,
            timeout=timeout,
            max_retries=0,
        )
        yield ProviderChat(
            model=model,
            api_key=lambda: provider.api_key,
            root_client=sdk,
            client=sdk.chat.completions,
            async_client=sdk,  # nothing here is async; left out, each attempt builds an async client's TLS
            max_tokens=spec.max_tokens,  # type: ignore[call-arg]  # its alias is max_completion_tokens
            temperature=spec.temperature,
            extra_body={"response_format": asked} if asked else None,
        )


def events_of(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Parse a provider's server-sent events, until `[DONE]` or the end.

    Raises:
        RetryableTaskError: what came is no event of the chat API, or it says that the provider failed.
        PermanentTaskError: it says that the request is too long for the model.
    """
    for line in _lines(pieces):
        if not line.startswith(b"data:"):
            continue  # ": keep-alive", while DeepSeek queues a call
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        try:
            event = json.loads(data)
        except ValueError:
            raise RetryableTaskError("provider_error", "The model's answer could not be read.") from None
        if not isinstance(event, dict) or event.get("error"):
            raise event_error(data.decode(errors="replace"))
        yield event


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Split at line feeds alone: str.splitlines would also split at U+2028 inside a JSON text."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _message_chunk(event: dict[str, Any], thoughts: ThoughtFilter) -> AIMessageChunk:
    choice = (event.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    reason, thought, usage = choice.get("finish_reason"), delta.get(THINKING), event.get("usage")
    text = thoughts.visible(delta.get("content") or "") + (thoughts.rest() if reason else "")
    return AIMessageChunk(
        content=text,
        additional_kwargs={THINKING: "…"} if thought or thoughts.thinking else {},
        response_metadata={"finish_reason": REFUSAL if delta.get(REFUSAL) else reason}
        if reason or delta.get(REFUSAL)
        else {},
        usage_metadata=_usage(usage) if usage else None,
    )


def _usage(usage: dict[str, Any]) -> UsageMetadata:
    tokens_in, tokens_out = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return UsageMetadata(
        input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out
    )


def _attach(stop: StopSignal, name: str, info: dict[str, Any]) -> None:
    if name in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
        stop.attach(info["return_value"].get_extra_info("socket"))


@cache
def _ssl_context() -> ssl.SSLContext:
    """Read the certificates once for a process: it takes longer than a hundred requests."""
    return httpx2.create_ssl_context()
