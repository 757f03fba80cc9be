"""The last step of the chain."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata

from shared.llm.reader import Reader
from shared.llm.usage import Usage


def test_tokens_from_the_provider_s_cache_are_added_up_over_the_calls() -> None:
    used = UsageMetadata(
        input_tokens=10, output_tokens=2, total_tokens=12, input_token_details={"cache_read": 4}
    )
    reader = Reader(lambda _: None, lambda: None, 100)
    for told in (used, UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2), used):
        list(reader.read(iter([AIMessageChunk(content="a", usage_metadata=told)])))
    assert reader.usage == Usage(21, 5, 8)


def test_a_character_that_the_provider_cut_in_two_is_whole_in_the_result() -> None:
    """What is stored can be encoded, and is what the writer showed: it mends the same halves."""
    reader = Reader(lambda _: None, lambda: None, 100)
    list(reader.read(iter(AIMessageChunk(content=text) for text in ("a\ud83d", "\ude00b", "\ud83d!"))))
    assert reader.text == "a😀b\ufffd!"
