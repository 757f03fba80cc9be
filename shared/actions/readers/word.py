"""Reading a DOCX in document order: headers, body with its tables and text boxes, footers.

python-docx opens the package and its parts; the walk is our own, for python-docx leaves out content controls,
text boxes and tracked insertions, and résumé templates are full of the first two. Deleted text stays out.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.part import Part, XmlPart
from docx.oxml.ns import qn
from docx.oxml.parser import parse_xml
from docx.package import Package

from shared.actions.readers.answer import MAX_TEXT_CHARS, Outcome, Unreadable
from shared.actions.readers.prose import tidy

MAX_FILES = 2_000
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
MAX_XML_BYTES = 16 * 1024 * 1024
MAX_NOTES = 20
_CONTENT_TYPES = "[Content_Types].xml"
_WORD_DOCUMENT = b"wordprocessingml"
_ENCRYPTED_FLAG = 0x1
_DELETED = frozenset({qn("w:del"), qn("w:moveFrom"), qn("w:instrText")})
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_LETTERS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}


def read_word(data: bytes) -> str:
    """Return the text of a DOCX.

    Raises:
        Unreadable: it is another kind of zip, broken, encrypted, empty, or unpacks to too much.
    """
    _check_archive(data)
    package = Package.open(io.BytesIO(data))
    main = package.main_document_part
    body = "\n".join(_paragraphs(_root(main)))
    text = tidy(
        "\n\n".join([*_notes(main, RELATIONSHIP_TYPE.HEADER), body, *_notes(main, RELATIONSHIP_TYPE.FOOTER)])
    )
    if not text:
        raise Unreadable(Outcome.NO_TEXT)
    return text


def _check_archive(data: bytes) -> None:
    """Look at what an archive says of itself before anything of it is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = archive.infolist()
            if len(files) > MAX_FILES or sum(file.file_size for file in files) > MAX_UNPACKED_BYTES:
                raise Unreadable(Outcome.TOO_HARD)
            if any(
                file.file_size > MAX_XML_BYTES for file in files if file.filename.endswith((".xml", ".rels"))
            ):
                raise Unreadable(Outcome.TOO_HARD)
            if any(file.flag_bits & _ENCRYPTED_FLAG for file in files):
                raise Unreadable(Outcome.ENCRYPTED)
            if _CONTENT_TYPES not in archive.namelist() or _WORD_DOCUMENT not in archive.read(_CONTENT_TYPES):
                raise Unreadable(Outcome.NOT_THIS_KIND)
    except zipfile.BadZipFile:
        raise Unreadable(Outcome.BROKEN) from None


def _notes(main: Part, kind: str) -> list[str]:
    """Return the distinct texts of a document's headers or footers; most are there once for each section."""
    parts = [rel.target_part for rel in main.rels.values() if rel.reltype == kind and not rel.is_external]
    texts = ["\n".join(_paragraphs(_root(part))) for part in parts[:MAX_NOTES]]
    return list(dict.fromkeys(text for text in texts if text.strip()))


def _root(part: Part) -> Any:
    return part.element if isinstance(part, XmlPart) else parse_xml(part.blob)


def _paragraphs(root: Any) -> Iterator[str]:
    """Yield the paragraphs below an element; a table's row is one line, its cells apart."""
    total = 0
    for text in _walk(root):
        total += len(text) + 1
        if total > 2 * MAX_TEXT_CHARS:
            raise Unreadable(Outcome.TOO_LONG)
        yield text


def _walk(element: Any) -> Iterator[str]:
    for child in element.iterchildren():
        if child.tag == qn("w:p"):
            yield from _paragraph(child)
        elif child.tag == qn("w:tbl"):
            yield from _table(child)
        elif child.tag not in _DELETED and child.tag != _FALLBACK:
            yield from _walk(child)


def _paragraph(paragraph: Any) -> Iterator[str]:
    """Yield a paragraph, then the text boxes that are anchored in it."""
    boxes: list[Any] = []
    text = "".join(_runs(paragraph, boxes))
    is_item = paragraph.find(f"{qn('w:pPr')}/{qn('w:numPr')}") is not None or "List" in _style(paragraph)
    yield f"• {text}" if is_item and text.strip() else text
    for box in boxes:
        yield from _walk(box)


def _style(paragraph: Any) -> str:
    style = paragraph.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")
    return "" if style is None else str(style.get(qn("w:val")))


def _runs(element: Any, boxes: list[Any]) -> Iterator[str]:
    for child in element.iterchildren():
        if child.tag == qn("w:t"):
            yield child.text or ""
        elif child.tag in _LETTERS:
            yield _LETTERS[child.tag]
        elif child.tag == qn("w:txbxContent"):
            boxes.append(child)
        elif child.tag not in _DELETED and child.tag not in {_FALLBACK, qn("w:pPr")}:
            yield from _runs(child, boxes)


def _table(table: Any) -> Iterator[str]:
    """Yield a table's rows; one with long cells is a page's layout, and its cells follow each other."""
    for row in table.iterchildren(qn("w:tr")):
        cells = [[text for text in _walk(cell) if text.strip()] for cell in _cells(row)]
        filled = [cell for cell in cells if cell]
        if any(len(cell) > 1 for cell in filled):
            for cell in filled:
                yield from [*cell, ""]
        else:
            yield " | ".join(cell[0] for cell in filled)


def _cells(row: Any) -> Iterator[Any]:
    """Yield a row's own cells, those inside content controls too."""
    for child in row.iterchildren():
        if child.tag == qn("w:tc"):
            yield child
        elif child.tag in {qn("w:sdt"), qn("w:sdtContent")}:
            yield from _cells(child)
