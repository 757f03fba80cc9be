"""Chinese fonts as pdfminer does not know them: with an encoding of their own inside the file.

pdfminer looks encodings up by name only, and looks a letter's meaning up by its glyph where a file gives it
by its code. Here codes stay codes: their meaning is looked up by code, their width by the encoding's glyph.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pdfminer.cmapdb import CMapDB, IdentityCMap
from pdfminer.pdffont import PDFCIDFont, PDFFont
from pdfminer.pdfinterp import PDFResourceManager
from pdfminer.pdftypes import PDFStream, resolve1
from pdfminer.psparser import literal_name

_MAX_ENCODING_BYTES = 1024 * 1024
_MAX_CODES = 70_000
_CODE = rb"<\s*([0-9A-Fa-f]{2,8})\s*>"
_SECTION = re.compile(rb"begin(codespacerange|cidchar|cidrange)\b(.*?)end\1", re.DOTALL)
_ONE = re.compile(_CODE + rb"\s*(\d+)")
_RANGE = re.compile(_CODE + rb"\s*" + _CODE + rb"\s*(\d+)")
_SPACE = re.compile(_CODE + rb"\s*" + _CODE)
_COLLECTIONS = ("Adobe-GB1", "Adobe-CNS1", "Adobe-Japan1", "Adobe-Korea1")


class Encoding:
    """An encoding that a file brings along: how its strings fall into codes, and each code's glyph."""

    def __init__(self, source: bytes) -> None:
        self.glyphs: dict[int, int] = {}
        self._spaces: list[tuple[int, bytes, bytes]] = []
        for section, content in _SECTION.findall(source[:_MAX_ENCODING_BYTES]):
            if section == b"codespacerange":
                self._spaces += [_space(low, high) for low, high in _SPACE.findall(content)]
            elif section == b"cidchar":
                self.glyphs.update((int(code, 16), int(glyph)) for code, glyph in _ONE.findall(content))
            else:
                self.glyphs.update(_ranges(content))

    def codes(self, text: bytes) -> Iterator[int]:
        """Yield a string's codes; bytes that are no code are passed over."""
        at = 0
        while at < len(text):
            length = self._length_at(text, at)
            if length:
                yield int.from_bytes(text[at : at + length])
            at += length or 1

    def _length_at(self, text: bytes, at: int) -> int:
        for length, low, high in self._spaces:
            code = text[at : at + length]
            if len(code) == length and all(a <= b <= c for a, b, c in zip(low, code, high, strict=True)):
                return length
        return 0


class CodedFont(PDFCIDFont):
    """A font for many languages, whose letters are told by their codes."""

    def __init__(self, resources: PDFResourceManager, spec: Mapping[str, Any]) -> None:
        super().__init__(resources, spec)
        source = resolve1(spec.get("Encoding"))
        self._encoding = Encoding(source.get_data()) if isinstance(source, PDFStream) else None
        self._by_code = self._encoding is not None and "ToUnicode" in spec
        if self._encoding is None and not isinstance(self.cmap, IdentityCMap):
            self._use_collection()

    def _use_collection(self) -> None:
        """Take letters from the glyphs of a known collection; pdfminer would look up glyphs among codes."""
        if self.cidcoding in _COLLECTIONS:
            with contextlib.suppress(CMapDB.CMapNotFound):
                self.unicode_map = CMapDB.get_unicode_map(self.cidcoding, vertical=self.vertical)

    def decode(self, bytes: bytes) -> Any:  # noqa: A002  # the library's name
        return super().decode(bytes) if self._encoding is None else self._encoding.codes(bytes)

    def to_unichr(self, cid: int) -> str:
        return super().to_unichr(cid if self._by_code else self._glyph(cid))

    def char_width(self, cid: int) -> float:
        return super().char_width(self._glyph(cid))

    def char_disp(self, cid: int) -> float | tuple[float | None, float]:
        return super().char_disp(self._glyph(cid))

    def _glyph(self, code: int) -> int:
        return code if self._encoding is None else self._encoding.glyphs.get(code, 0)


class Resources(PDFResourceManager):
    """Makes fonts, ours where pdfminer's would not do."""

    def get_font(self, objid: object, spec: Mapping[str, object]) -> PDFFont:
        subtype = spec.get("Subtype")
        if subtype is not None and literal_name(subtype) in {"CIDFontType0", "CIDFontType2"}:
            return CodedFont(self, spec)
        return super().get_font(objid, spec)


def _space(low: bytes, high: bytes) -> tuple[int, bytes, bytes]:
    return len(low) // 2, bytes.fromhex(low.decode()), bytes.fromhex(high.decode())


def _ranges(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the codes and glyphs of ranges, as many as any font has."""
    left = _MAX_CODES
    for low, high, glyph in _RANGE.findall(content):
        first = int(low, 16)
        count = min(int(high, 16) - first + 1, left)
        left -= max(count, 0)
        yield from ((first + i, int(glyph) + i) for i in range(count))
