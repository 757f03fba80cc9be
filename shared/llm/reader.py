"""The last step of the chain: reads a model's chunks, hands visible text on, and remembers the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.llm.usage import Usage

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

THINKING_SECONDS = 5.0
"""At most this often a user hears that the model is thinking."""


class LimitIgnored(Exception):
    """A provider talks on beyond its limit. Raised, since LangChain would drain what a step leaves."""


@dataclass(slots=True)
class Reader:
    """Reads the model's chunks over all calls of an attempt: text goes on, the rest is remembered."""

    on_text: Callable[[str], None]
    on_thinking: Callable[[], None]
    max_texts: int
    started: float = field(default_factory=time.monotonic)
    first_token_ms: int | None = None
    thought_at: float = -THINKING_SECONDS
    usage: Usage = field(default_factory=Usage)
    texts: list[str] = field(default_factory=list)
    finish_reason: str = ""
    warnings: list[str] = field(default_factory=list)

    def read(self, chunks: Iterator[AIMessage]) -> Iterator[str]:
        """Yield the visible text; the last step of the chain."""
        self.texts, self.finish_reason, counted = [], "", False
        for chunk in chunks:
            self.finish_reason = chunk.response_metadata.get("finish_reason") or self.finish_reason
            if used := chunk.usage_metadata:
                counted = True
                self.usage += Usage(used["input_tokens"], used["output_tokens"])
            if chunk.additional_kwargs:
                self._think()
            if isinstance(text := chunk.content, str) and text:
                yield self._take(text)
        if not counted:
            self.warnings.append("usage_missing")

    def _take(self, text: str) -> str:
        if len(self.texts) >= self.max_texts:
            self.finish_reason = "length"
            self.warnings.append("usage_missing")
            raise LimitIgnored
        if self.first_token_ms is None:
            self.first_token_ms = round((time.monotonic() - self.started) * 1000)
        self.texts.append(text)
        self.on_text(text)
        return text

    def _think(self) -> None:
        now = time.monotonic()
        if now - self.thought_at >= THINKING_SECONDS:
            self.thought_at = now
            self.on_thinking()

    @property
    def text(self) -> str:
        """The answer so far; characters that the provider cut in two between chunks are whole again."""
        return "".join(self.texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
