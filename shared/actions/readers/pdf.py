"""Reading a PDF's text layer, page by page.

pdfminer decodes the file; what lies where on a page is put in order by `layout.py`, and made prose by
`prose.py`. Drawings and pictures are skipped, but for how much of a page a picture covers: a scan is told by
that.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import Any

from pdfminer.converter import PDFLayoutAnalyzer
from pdfminer.layout import LTChar, LTContainer, LTImage, LTPage
from pdfminer.pdfdocument import PDFDocument, PDFEncryptionError
from pdfminer.pdfinterp import PDFPageInterpreter
from pdfminer.pdfpage import PDFPage
from pdfminer.pdfparser import PDFParser

from shared.actions.readers.answer import MAX_TEXT_CHARS, Outcome, Unreadable
from shared.actions.readers.fonts import Resources
from shared.actions.readers.layout import blocks_of
from shared.actions.readers.prose import prose
from shared.actions.readers.rows import Glyph

MAX_PAGES = 100
MAX_GLYPHS = MAX_TEXT_CHARS * 3 // 2
"""White space counts among the glyphs of a page, and not always in its text."""
_HEADER_WITHIN_BYTES = 1024
_END_WITHIN_BYTES = 2048
_SCAN_COVER = 0.5
_STAMP_CHARS = 40
"""A page covered by a picture, with less text than this, is a scan: the text is the scanner's own mark."""
_UNMAPPED = "(cid:"
_TILT = 0.2


def read_pdf(data: bytes) -> str:
    """Return the text of a PDF.

    Raises:
        Unreadable: it is encrypted, cut off, a scan, too long, or its letters have no meaning.
    """
    document = _open(data)
    pages = list(itertools.islice(PDFPage.create_pages(document), MAX_PAGES + 1))
    if not pages:
        raise Unreadable(Outcome.BROKEN)
    if len(pages) > MAX_PAGES:
        raise Unreadable(Outcome.TOO_MANY_PAGES)
    reader = _PageReader()
    text = prose(blocks for page in pages for blocks in reader.read(page))
    if reader.unmapped > len(text) // 3:
        raise Unreadable(Outcome.NO_LETTERS)
    if not text or (reader.is_scan and len(text) < _STAMP_CHARS * len(pages)):
        raise Unreadable(Outcome.NO_TEXT)
    return text


def _open(data: bytes) -> PDFDocument:
    """Open a document; one without its end is refused: half a résumé must not pass for a whole one."""
    start = data.find(b"%PDF-", 0, _HEADER_WITHIN_BYTES + 5)
    if start < 0 or b"%%EOF" not in data.rstrip(b"\0 \t\r\n")[-_END_WITHIN_BYTES:]:
        raise Unreadable(Outcome.BROKEN)
    try:
        return PDFDocument(PDFParser(io.BytesIO(data[start:])))
    except PDFEncryptionError:
        raise Unreadable(Outcome.ENCRYPTED) from None


class _PageReader(PDFLayoutAnalyzer):
    """Collects the glyphs of pages, and what it saw beside them."""

    def __init__(self) -> None:
        resources = Resources()
        super().__init__(resources)
        self._interpreter = PDFPageInterpreter(resources, self)
        self._page: LTPage | None = None
        self._glyphs = 0
        self.unmapped = 0
        self.is_scan = True

    def read(self, page: PDFPage) -> Iterator[Any]:
        """Yield the blocks of one page."""
        self._interpreter.process_page(page)
        assert self._page is not None
        self.is_scan = self.is_scan and _covered(self._page) >= _SCAN_COVER
        yield from blocks_of(list(self._letters(self._page)))
        self._page = None

    def _letters(self, container: LTContainer[Any]) -> Iterator[Glyph]:
        for item in container:
            if isinstance(item, LTContainer):
                yield from self._letters(item)
            elif isinstance(item, LTChar) and not _is_tilted(item):
                text = item.get_text()
                if text.startswith(_UNMAPPED):
                    self.unmapped += 1
                else:
                    yield Glyph(text, item.x0, item.x1, item.matrix[5], item.size)

    def receive_layout(self, ltpage: LTPage) -> None:
        self._page = ltpage

    def render_char(self, *args: Any, **kwargs: Any) -> float:
        self._glyphs += 1
        if self._glyphs > MAX_GLYPHS:
            raise Unreadable(Outcome.TOO_LONG)
        return super().render_char(*args, **kwargs)

    def paint_path(self, *_: Any, **__: Any) -> None:
        """Skip drawings: there may be millions."""


def _is_tilted(glyph: LTChar) -> bool:
    """Say whether a glyph is not written along the lines: a watermark, or a mark on the margin."""
    across, up = glyph.matrix[0], glyph.matrix[1]
    return abs(up) > _TILT * abs(across)


def _covered(container: LTContainer[Any]) -> float:
    """Return how much of a page its pictures cover."""
    area = max(container.width * container.height, 1)
    return sum(image.width * image.height for image in _images(container)) / area


def _images(container: LTContainer[Any]) -> Iterator[LTImage]:
    for item in container:
        if isinstance(item, LTContainer):
            yield from _images(item)
        elif isinstance(item, LTImage):
            yield item
