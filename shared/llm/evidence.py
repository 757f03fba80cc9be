"""What a candidate's material shows: whether a word, a name or a number has a source in it.

A false alarm costs the reader a glance, a claim without a source may cost them the job. So words are looked
for as wholes ("Java" is not shown by "JavaScript"), and wordings are forgiven ("Redis cluster" by "cluster of
Redis"), but what is not there is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

_CJK = re.compile(r"[㐀-鿿]+")
_WORD = re.compile(r"[a-z0-9À-ɏ][a-z0-9À-ɏ.+#-]*")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.,])\d[\d,]*(?:\.\d+)?")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_FILLERS = re.compile(
    r"and|or|of|in|on|for|with|the|an?|to|using|basics?|advanced|intermediate|proficient|expert|familiar"
    r"|working|knowledge|experience|development|programming|languages?"
)
"""Words of a skill that name none."""
_PROPER = re.compile(r"[A-Z0-9+#]")
_SHORT = 2
_SHARE = 0.6
"""Of a Chinese term's pairs of characters so many must be there: "分布式系统" shows "分布式系统设计"."""


class Material:
    """The texts that a candidate gave, as far as they were kept; keys of objects are no text."""

    def __init__(self, *sources: Any) -> None:
        self._text = "\n".join(texts_of(sources)).casefold()
        self._words = frozenset(_words(self._text))
        self._numbers = frozenset(_numbers(self._text))
        self._squeezed = _squeezed(self._text)
        self._is_chinese = len("".join(_CJK.findall(self._text))) > len(self._words)

    def shows_term(self, term: str) -> bool:
        """Tell whether a skill has a source; a phrase in another language than the material's cannot tell."""
        if not self.speaks_like(term) and not _PROPER.search(term):
            return True
        bare = term.casefold()
        words = [word for word in _words(bare) if not _FILLERS.fullmatch(word)]
        return all(self._has_word(word) for word in words) and all(
            self._has_cjk(run) for run in _CJK.findall(bare)
        )

    def shows_name(self, name: str) -> bool:
        """Tell whether the name of an employer or a school stands there, whatever its punctuation."""
        return _squeezed(name) in self._squeezed

    def unknown_years(self, *dates: str) -> list[str]:
        """Return the years in `dates` that stand nowhere."""
        return [year for date in dates for year in _YEAR.findall(date) if year not in self._text]

    def unknown_numbers(self, text: str) -> list[str]:
        """Return the numbers of a text that stand nowhere; single digits may be words there, and pass."""
        return [number for number in _numbers(text) if len(number) > 1 and number not in self._numbers]

    def speaks_like(self, text: str) -> bool:
        """Tell whether a text is in the language of the material, as far as its script shows."""
        return (_CJK.search(text) is not None) == self._is_chinese

    def _has_word(self, word: str) -> bool:
        return word in self._words or _singular(word) in self._words or f"{word}s" in self._words

    def _has_cjk(self, run: str) -> bool:
        if run in self._text:
            return True
        pairs = [run[i : i + 2] for i in range(len(run) - 1)]
        return bool(pairs) and sum(pair in self._text for pair in pairs) / len(pairs) >= _SHARE


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text inside a value, and numbers as texts."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        for inner in value:
            yield from texts_of(inner)
    elif isinstance(value, int | float):
        yield f"{value:g}"


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case; "Python/Go" is two, "C++" and "Node.js" one.

    "event-driven" shows both of its words too; "go-to-market" does not show Go.
    """
    for word in _WORD.findall(text):
        bare = word.rstrip(".-")
        yield bare
        yield from (part for part in bare.split("-") if len(part) > _SHORT) if "-" in bare else ()


def _numbers(text: str) -> Iterator[str]:
    for number in _NUMBER.findall(text):
        yield number.rstrip(",").replace(",", "")


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())
