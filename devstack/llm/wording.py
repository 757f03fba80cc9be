"""Puts facts into sentences: phrases in both languages, lists, quotations, and what can be said aloud."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

_CJK = "[㐀-鿿，。；：！？、（）“”‘’《》]"
_GAP = re.compile(rf"(?<={_CJK}) (?={_CJK})")
_PAST = re.compile(
    r"(?:Led|Built|Wrote|Cut|Made|Ran|Grew|Took|Set|Won|Brought|Kept|Taught|Sold|Held|Drove|Began|Chose|Found|Gave|Got"
    r"|Rebuilt|Rewrote|Oversaw|[A-Z][a-z]+ed)\b"
)
_PRESENT = re.compile(r"([A-Z][a-z]+?)(s)\b(?! (?:and|&))")
_CLAUSE = re.compile(r"[;:—；：]\s*|\.\s+|，|。")
_WEIGHT = re.compile(r"[㐀-鿿]|[^\s㐀-鿿]+")


class Wording:
    """The phrases of one language."""

    def __init__(self, locale: str) -> None:
        self.zh = locale == "zh"
        self._phrases = _phrases(locale)

    def say(self, name: str, /, **facts: Any) -> str:
        return self._phrases[name].format(**facts)  # type: ignore[no-any-return]

    def pair(self, name: str, /, **facts: Any) -> tuple[str, str]:
        """Return both halves of a phrase that has two: what was done, and why."""
        first, second = self._phrases[name]
        return first.format(**facts), second.format(**facts)

    def listing(self, items: Sequence[str]) -> str:
        """Return "Python, Go and Redis"; what is empty is said to be not stated."""
        if len(items) < 2:
            return items[0] if items else self.say("nothing")
        return self.say("separator").join(items[:-1]) + self.say("last") + items[-1]

    def sentence(self, text: str) -> str:
        """Return a text with the full stop that ends a sentence."""
        bare = text.strip().rstrip(".。;；")
        return f"{bare}。" if self.zh else f"{bare}."

    def spoken(self, text: str) -> str:
        """Return an achievement as its owner says it aloud: "I led the move …"."""
        if self.zh:
            return self.sentence(text if text.startswith("我") else f"我{text}")
        if _PAST.match(text):
            return self.sentence(f"I {text[0].lower()}{text[1:]}")
        if present := _PRESENT.match(text):
            return self.sentence(f"I {present.group(1).lower()}{text[present.end() :]}")
        return self.sentence(text)

    def clipped(self, text: str, size: int) -> str:
        """Return a text, or as many of its clauses as `size` words (characters in Chinese) have room for."""
        end = len(text)
        for clause in [*_CLAUSE.finditer(text)][::-1]:
            if len(_WEIGHT.findall(text[:end])) <= size:
                break
            end = clause.start()
        return text[:end]

    def parted(self, text: str) -> tuple[str, str]:
        """Part an achievement into what was done and what came of it; the second may be missing."""
        bare = text.strip().rstrip(".。")
        clause = _CLAUSE.search(bare)
        rest = bare[clause.end() :] if clause else ""
        return (bare[: clause.start()], rest) if clause and re.search(r"\d", rest) else (bare, "")

    def typeset(self, text: str) -> str:
        """Take out the spaces that phrases have around Latin words, where a Chinese one stands instead."""
        return _GAP.sub("", text) if self.zh else text


@cache
def _phrases(locale: str) -> dict[str, Any]:
    return tomllib.loads(files("devstack.llm").joinpath("texts", f"phrases.{locale}.toml").read_text("utf-8"))
