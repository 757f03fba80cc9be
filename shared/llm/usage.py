"""What an attempt used of a model: tokens, added up over its calls, and what they cost (prices.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from shared.routing import Model


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in and out."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens
        )

    def to_json(self, model: Model) -> dict[str, Any]:
        """Return the usage record of `model`, priced."""
        prices = _prices()
        price = prices["per_1000_tokens"][model]
        cost = (self.prompt_tokens * price["in"] + self.completion_tokens * price["out"]) / 1000
        return {
            "promptTokens": self.prompt_tokens,
            "completionTokens": self.completion_tokens,
            "totalTokens": self.prompt_tokens + self.completion_tokens,
            "cost": float(round(cost, 6)),
            "currency": prices["currency"],
            "model": str(model),
        }


@cache
def _prices() -> dict[str, Any]:
    text = files("shared.llm").joinpath("prices.toml").read_text("utf-8")
    return tomllib.loads(text, parse_float=Decimal)
