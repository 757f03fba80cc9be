"""What an attempt used of a model: tokens, added up over its calls, and what they cost (prices.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from shared.routing import Model


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in and out; `cached_tokens` of those that went in were in the provider's cache."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )

    def to_json(self, model: Model, *, first_token_ms: int | None = None) -> dict[str, Any]:
        """Return the usage record of `model`, priced."""
        prices = _prices()
        return {
            "promptTokens": self.prompt_tokens,
            "completionTokens": self.completion_tokens,
            "totalTokens": self.prompt_tokens + self.completion_tokens,
            "cachedTokens": self.cached_tokens,
            "cost": float(round(self.cost(prices["per_1000_tokens"][model]), 6)),
            "currency": prices["currency"],
            "model": str(model),
            "ttftMs": first_token_ms,
        }

    def cost(self, price: Mapping[str, Decimal]) -> Decimal:
        """Return what this costs at a price per 1,000 tokens: `in`, `out`, and `cached` where it differs."""
        fresh = self.prompt_tokens - self.cached_tokens
        cached = self.cached_tokens * price.get("cached", price["in"])
        return (fresh * price["in"] + cached + self.completion_tokens * price["out"]) / 1000


@cache
def _prices() -> dict[str, Any]:
    text = files("shared.llm").joinpath("prices.toml").read_text("utf-8")
    return tomllib.loads(text, parse_float=Decimal)
