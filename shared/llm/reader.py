"""The last step of the chain: reads a model's chunks, hands visible text on, and remembers the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from shared.llm.usage import Usage
from shared.routing import Model

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

THINKING_SECONDS = 5.0
"""At most this often a user hears that the model is thinking."""


LOOP_TEXTS = 256
"""So many pieces of a text must be one short phrase over and over to be a loop."""
LOOP = "loop"
"""The finish reason that we give to a model which repeats itself."""


class TalksOn(Exception):
    """A model talks on beyond its limit or its sense. Raised, since LangChain would drain what is left."""


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
                cached = used.get("input_token_details", {}).get("cache_read", 0)
                self.usage += Usage(used["input_tokens"], used["output_tokens"], cached)
            if chunk.additional_kwargs:
                self._think()
            if isinstance(text := chunk.content, str) and text:
                yield self._take(text)
        if not counted:
            self.warnings.append("usage_missing")

    def _take(self, text: str) -> str:
        if len(self.texts) >= self.max_texts:
            self._cut("length")
        if self.first_token_ms is None:
            self.first_token_ms = round((time.monotonic() - self.started) * 1000)
        self.texts.append(text)
        self.on_text(text)
        if len(self.texts) % LOOP_TEXTS == 0 and is_loop("".join(self.texts[-LOOP_TEXTS:])):
            self._cut(LOOP)
        return text

    def _cut(self, reason: str) -> NoReturn:
        self.finish_reason = reason
        self.warnings.append("usage_missing")
        raise TalksOn

    def _think(self) -> None:
        now = time.monotonic()
        if now - self.thought_at >= THINKING_SECONDS:
            self.thought_at = now
            self.on_thinking()

    def used(self, model: Model) -> dict[str, Any]:
        """Return the usage record of the calls so far."""
        return self.usage.to_json(model, first_token_ms=self.first_token_ms)

    @property
    def text(self) -> str:
        """The answer so far; characters that the provider cut in two between chunks are whole again."""
        return "".join(self.texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_loop(text: str) -> bool:
    """Tell whether a text is nothing but one phrase, at least four times."""
    return any(text[phrase:] == text[:-phrase] for phrase in range(1, len(text) // 4 + 1))
