"""Our reader of a provider's stream is held to the SDK's: both are fed the same bytes, and must tell the same.

`llm_streams/` holds answers as DeepSeek, GLM and less careful servers stream them. They are written after the
providers' own documentation and public recordings: nothing here has talked to a provider.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage

from shared.errors import RetryableTaskError
from shared.llm.chat import open_chat
from shared.llm.event_stream import events_of
from shared.llm.failures import as_task_error
from shared.llm.stop import StopSignal
from shared.llm.templates import SPECS
from shared.routing import Model, Template
from shared.settings import JsonMode, ProviderSettings

FOLDER = Path(__file__).with_name("llm_streams")
STREAMS = sorted(file.stem for file in FOLDER.glob("*.sse"))
LINE_ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


@dataclass(frozen=True)
class Told:
    """What a reader made of an answer."""

    text: str = ""
    thought: bool = False
    finish_reason: str | None = None
    usage: tuple[int, int] | None = None
    failed: bool = False


class Pieces(httpx2.SyncByteStream):
    """A body that arrives in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def provider(pieces: list[bytes]) -> httpx2.MockTransport:
    """Return a provider that answers every call with these pieces."""
    headers = {"content-type": "text/event-stream"}
    return httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=Pieces(pieces)))


def told_by_the_sdk(pieces: list[bytes]) -> Told:
    with httpx2.Client(transport=provider(pieces)) as http:
        sdk = openai.OpenAI(api_key="k", base_url="http://provider.test", http_client=http, max_retries=0)
        messages: Any = [{"role": "user", "content": "Hello"}]
        text, thought, reason, usage = "", False, None, None
        try:
            for chunk in sdk.chat.completions.create(model="m", messages=messages, stream=True):
                for choice in chunk.choices[:1]:
                    text += choice.delta.content or ""
                    thought = thought or bool(getattr(choice.delta, "reasoning_content", None))
                    reason = choice.finish_reason or reason
                if chunk.usage:
                    usage = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        except (openai.APIError, ValueError):
            return Told(text, thought, reason, usage, failed=True)
    return Told(text, thought, reason, usage)


def told_by_us(pieces: list[bytes], *, listened_to: bool = False) -> Told:
    settings = ProviderSettings("http://provider.test", "k", JsonMode.OBJECT)
    spec = SPECS[Template.INTERVIEW_PREP]
    text, thought, reason, usage = "", False, None, None
    with open_chat(settings, Model.DEEPSEEK_CHAT, spec, StopSignal(), 5, transport=provider(pieces)) as chat:
        try:
            stream = BaseChatModel.stream if listened_to else type(chat).stream
            for chunk in stream(chat, [HumanMessage("Hello")]):
                text += str(chunk.content)
                thought = thought or bool(chunk.additional_kwargs)
                reason = chunk.response_metadata.get("finish_reason") or reason
                if used := chunk.usage_metadata:
                    usage = used["input_tokens"], used["output_tokens"]
        except RetryableTaskError:
            return Told(text, thought, reason, usage, failed=True)
    return Told(text, thought, reason, usage)


def recorded(name: str, line_end: bytes = b"\n") -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes().replace(b"\n", line_end)


def cut(data: bytes, seed: int) -> list[bytes]:
    """Return `data` in pieces of chance lengths, also in the middle of a character and of a line's end."""
    chance, pieces = random.Random(seed), []
    while data:
        length = chance.choice([1, 1, 2, 3, 5, 40, 400])
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def cached_tokens(answer: bytes) -> int | None:
    """Return how many tokens were in the provider's cache, by the usage that we read."""
    settings = ProviderSettings("http://provider.test", "k", JsonMode.OBJECT)
    spec, cached = SPECS[Template.INTERVIEW_PREP], None
    with open_chat(
        settings, Model.DEEPSEEK_CHAT, spec, StopSignal(), 5, transport=provider([answer])
    ) as chat:
        for chunk in chat.stream([HumanMessage("Hello")]):
            if isinstance(chunk, AIMessageChunk) and (used := chunk.usage_metadata):
                cached = used.get("input_token_details", {}).get("cache_read", 0)
    return cached


def test_tokens_in_the_providers_cache_are_read_as_each_provider_says_them() -> None:
    deepseek, details = recorded("deepseek-chat"), b'"prompt_tokens_details":{"cached_tokens":896},'
    assert details in deepseek
    assert cached_tokens(deepseek) == 896
    assert cached_tokens(deepseek.replace(details, b"")) == 896
    assert cached_tokens(recorded("glm-4.5-flash")) == 0


def test_no_more_tokens_were_in_the_cache_than_went_in() -> None:
    assert cached_tokens(recorded("deepseek-chat").replace(b'tokens":911', b'tokens":3')) == 3


@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize("name", STREAMS)
def test_the_text_the_reason_and_the_usage_are_what_the_sdk_reads(name: str, line_end: str) -> None:
    data = recorded(name, LINE_ENDS[line_end])
    assert told_by_us([data]) == told_by_the_sdk([data])


@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_means_the_same_wherever_the_network_cuts_it(name: str, line_end: str) -> None:
    data = recorded(name, LINE_ENDS[line_end])
    whole = told_by_us([data])
    assert all(told_by_us(cut(data, seed)) == whole == told_by_the_sdk(cut(data, seed)) for seed in range(5))
    assert told_by_us([data[i : i + 1] for i in range(len(data))]) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_langchain_s_own_way_in_where_others_may_listen_tells_the_same(name: str) -> None:
    assert told_by_us([recorded(name)], listened_to=True) == told_by_us([recorded(name)])


def test_the_streams_are_not_all_alike() -> None:
    """A comparison of two readers that both read nothing would hold, too."""
    read = {name: told_by_us([recorded(name)]) for name in STREAMS}
    assert read["deepseek-chat"].text == '## How to prepare\n\n- Say **why** you left: "scale".\n'
    assert read["deepseek-chat-usage-apart"].text == "score: 82\n很适合：用Kafka三年。🚀\u2028done"
    assert read["several-lines"].text == "on several\nlines"
    assert {told.finish_reason for told in read.values()} > {"stop", "length", "sensitive", "content_filter"}
    assert read["deepseek-reasoner"] == Told(
        "score: 71\n\n## Fit\nPython, 十年。", thought=True, finish_reason="stop", usage=(830, 40)
    )
    failed = {name for name, told in read.items() if told.failed}
    assert failed == {"error-in-mid-answer", "no-json-in-mid-answer"}


@pytest.mark.parametrize("name", ["deepseek-chat", "deepseek-reasoner", "glm-4.5-flash"])
@pytest.mark.parametrize("lost", [b'"finish_reason":"stop"', b'"stop"'])
def test_an_answer_that_breaks_off_is_no_answer_although_the_sdk_takes_it_for_one(
    name: str, lost: bytes
) -> None:
    data = recorded(name).partition(lost)[0]  # in the middle of its last event
    for broken in (data, data.rpartition(b"data:")[0]):
        assert not told_by_the_sdk([broken]).failed
        assert told_by_us([broken]).failed


def test_events_that_no_blank_line_parts_are_events_all_the_same() -> None:
    """Weak servers leave it out; the SDK gives up on them."""
    data = b'data: {"n": 1}\ndata: {"n": 2}\ndata: [DONE]\n'
    assert list(events_of([data])) == [{"n": 1}, {"n": 2}]


def test_nothing_after_the_end_mark_is_read() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'data: {"n": 1}\n\ndata: [DONE]\n\ndata: {"n": 2}\n\n'
        raise AssertionError("it reads on")

    assert list(events_of(pieces())) == [{"n": 1}]


def test_invalid_utf8_is_an_answer_that_cannot_be_read() -> None:
    with pytest.raises(RetryableTaskError) as caught:
        list(events_of([b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n']))
    assert caught.value.code == "provider_error"
    assert as_task_error(caught.value) is None
