"""What the demo says, in both languages: phrases by name, from `texts/phrases.<locale>.toml`."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any, Literal

Locale = Literal["en", "zh"]
LOCALES: dict[str, Locale] = {"en": "en", "zh": "zh", "zh-cn": "zh", "zh_cn": "zh"}
"""What somebody may call a language, in small letters."""


class Words:
    """The phrases of one language."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale
        self._phrases = _phrases(locale)

    def __call__(self, name: str, /, **facts: object) -> str:
        """Return a phrase, `section.name`, with its places filled; a number gets one decimal, or none."""
        phrase: Any = self._phrases
        for part in name.split("."):
            phrase = phrase[part]
        shown = {fact: f"{value:.1f}" if isinstance(value, float) else value for fact, value in facts.items()}
        return str(phrase).format(**shown).strip()

    @property
    def other_locale(self) -> Locale:
        return "zh" if self.locale == "en" else "en"


def _phrases(locale: Locale) -> dict[str, Any]:
    return tomllib.loads(
        files("devstack.demo").joinpath("texts", f"phrases.{locale}.toml").read_text("utf-8")
    )
