"""The last step of the chain."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk

from shared.llm.reader import Reader


def test_a_character_that_the_provider_cut_in_two_is_whole_in_the_result() -> None:
    """What is stored can be encoded, and is what the writer showed: it mends the same halves."""
    reader = Reader(lambda _: None, lambda: None, 100)
    list(reader.read(iter(AIMessageChunk(content=text) for text in ("a\ud83d", "\ude00b", "\ud83d!"))))
    assert reader.text == "a😀b\ufffd!"
