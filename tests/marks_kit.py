"""Marked texts, and the search for them in what was emitted, in every form that an encoding may give them."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Mark:
    """A text that occurs nowhere else: `word` for headers and names, `text` with letters that encodings change."""

    name: str

    @property
    def word(self) -> str:
        return f"Qx{self.name}Zk"

    @property
    def letters(self) -> str:
        digest = hashlib.sha256(self.name.encode()).digest()
        return "".join(chr(0x4E00 + int.from_bytes(digest[i : i + 2]) % 0x5000) for i in range(0, 10, 2))

    @property
    def text(self) -> str:
        return f"{self.word} {self.letters}"

    @cached_property
    def forms(self) -> Mapping[str, list[bytes]]:
        """The forms to look for, in lower case but for base64."""
        word, letters = self.word.lower().encode(), self.letters.encode()
        return {
            "plain": [word, letters],
            "JSON": [json.dumps(self.letters)[1:-1].encode(), repr(letters)[2:-1].encode()],
            "URL": [urllib.parse.quote(self.letters).lower().encode()],
            "hexadecimal": [word.hex().encode(), self.word.encode().hex().encode(), letters.hex().encode()],
            "UTF-16": [
                word.decode().encode("utf-16-le")[:-1],  # without its last zero it is the big-endian one too
                self.letters.encode("utf-16-le"),
                self.letters.encode("utf-16-be"),
            ],
            "GB 18030": [self.letters.encode("gb18030")],
            "base64": [*_base64_forms(self.word.encode()), *_base64_forms(letters)],
        }

    def found_in(self, data: bytes) -> Iterator[str]:
        """Yield the forms in which the mark, or half of it, is in `data`."""
        lowered = data.lower()
        for form, needles in self.forms.items():
            # Lower-casing bytes changes ASCII letters alone, which may be a byte of a wider encoding.
            hay = data if form == "base64" else lowered
            if any((n if form == "base64" else n.lower()) in hay for n in needles):
                yield form


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """Yield what base64 makes of `raw` at each of the three places where it may begin in a group."""
    for shift, first in enumerate((0, 2, 3)):
        whole = (shift + len(raw)) * 8 // 6
        standard = base64.b64encode(bytes(shift) + raw)[first:whole]
        yield standard
        yield standard.translate(bytes.maketrans(b"+/", b"-_"))


def leaks(sources: Mapping[str, bytes], marks: Iterable[Mark]) -> list[str]:
    """Return where which mark was found and in which form; nothing is what one wants to see."""
    marks = list(marks)
    return [
        f"{mark.name} in {source} ({form}): {_around(data, mark)!r}"
        for source, data in sources.items()
        for mark in marks
        for form in mark.found_in(data)
    ]


def _around(data: bytes, mark: Mark) -> bytes:
    at = max(data.lower().find(mark.word.lower().encode()), 0)
    return data[max(0, at - 120) : at + 120]
