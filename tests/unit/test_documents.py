"""What a file is, its content says; what cannot be read is refused with what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import pytest
from fpdf.enums import EncryptionMethod

from shared.actions.documents import document_text
from shared.actions.uploads import MAX_FILE_BYTES, text_of_file
from shared.errors import FileTooLarge, Refused, TextTooLong, UnreadableFile, UnsupportedFileType
from tests.documents_kit import (
    CHINESE,
    ENGLISH,
    advertisement,
    document_xml,
    docx_of,
    encrypted_pdf,
    pdf_of,
    raw_pdf,
    repacked,
    rich_docx,
    scanned_pdf,
    zip_of,
)

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
TEXT = "Ann Lee, engineer"


@pytest.mark.parametrize("before", [b"", b"\n", b"junk \x00\xff" * 100])
def test_a_pdf_is_known_even_with_something_before_it(before: bytes) -> None:
    assert document_text(before + pdf_of(ENGLISH)) == "\n\n".join(ENGLISH)


def test_a_text_that_speaks_of_pdf_is_a_text() -> None:
    text = "# Ann Lee\nWrote a parser for files that begin with %PDF-1.7, in Rust."
    assert document_text(text.encode()) == text


def test_a_docx_is_read_in_document_order_with_all_its_parts_once() -> None:
    assert document_text(rich_docx()).split("\n") == [
        "Ann Lee, confidential",
        "",
        "Summary of work",
        "Acme Pay | 2019–2025",
        "蓝鲸科技 | 2015–2019",
        "• Cut the latency",
        "Before the box",
        "Inside the box",
        "Inside the control",
        "Added later",
        "The end of it",
        "",
        "Page of Ann",
    ]


def test_a_docx_whose_main_part_has_another_name_is_read() -> None:
    data = docx_of(CHINESE)
    renamed = data.replace(b"word/document.xml", b"word/documenX.xml")
    content = repacked(data, {})
    assert document_text(content) == "\n".join(CHINESE)
    with pytest.raises(UnreadableFile):
        document_text(renamed)


def test_an_entity_of_a_docx_reads_no_file() -> None:
    doctype = '<!DOCTYPE w:document [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
    body = f"<w:p><w:r><w:t>{TEXT}</w:t></w:r></w:p><w:p><w:r><w:t>&secret;</w:t></w:r></w:p>"
    data = repacked(docx_of(["x"]), {"word/document.xml": document_xml(body, doctype=doctype)})
    with contextlib.suppress(UnreadableFile):
        assert document_text(data) == TEXT


@pytest.mark.parametrize("method", list(EncryptionMethod)[1:])
def test_a_pdf_without_a_password_to_open_it_is_read(method: EncryptionMethod) -> None:
    assert "Ann Lee" in document_text(encrypted_pdf(user_password="", method=method))


UNREADABLE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "an encrypted PDF": (lambda: encrypted_pdf(user_password="secret"), "password"),
    "an encrypted DOCX": (lambda: OLE + bytes(512) + "EncryptedPackage".encode("utf-16-le"), "password"),
    "a scan": (scanned_pdf, "no text layer"),
    "a scan with the scanner's mark": (lambda: scanned_pdf(stamp="扫描全能王 创建"), "no text layer"),
    "an empty PDF": (lambda: raw_pdf(b""), "no text layer"),
    "an empty DOCX": (lambda: docx_of([""]), "no text"),
    "a PDF cut off in its middle": (lambda: pdf_of(CHINESE)[:9_000], "cut off"),
    "a PDF cut off near its end": (lambda: pdf_of(CHINESE)[:-40], "cut off"),
    "a PDF whose last change was cut off": (
        lambda: pdf_of(ENGLISH) + b"99 0 obj\nstream\n" + b"x" * 4_000,
        "cut off",
    ),
    "a PDF of nothing but its first line": (lambda: b"%PDF-1.7\n", "cut off"),
    "a DOCX cut off": (lambda: docx_of(ENGLISH)[:9_000], "cut off"),
    "a DOCX with broken XML": (
        lambda: repacked(docx_of(["x"]), {"word/document.xml": b"<w:document"}),
        "damaged",
    ),
    "a PDF of too many pages": (lambda: raw_pdf(b"BT /F1 9 Tf (page) Tj ET", pages=101), "100"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_says_why(name: str) -> None:
    make, word = UNREADABLE[name]
    with pytest.raises(UnreadableFile, match=word) as refused:
        text_of_file(make(), field_name="file")
    assert str(refused.value).startswith("file: ")


NOT_TAKEN = {
    "an old Word file": (OLE + bytes(512), "DOCX"),
    "RTF": (b"{\\rtf1\\ansi Ann}", "RTF"),
    "a web page named .doc": (b"\xef\xbb\xbf<html><body>Ann</body></html>", "web page"),
    "a saved web page": (b"MIME-Version: 1.0\nContent-Type: multipart/related", "web page"),
    "a workbook": (zip_of({"[Content_Types].xml": b"spreadsheetml", "xl/workbook.xml": b"<x/>"}), "archive"),
    "an OpenDocument text": (zip_of({"mimetype": b"application/vnd.oasis.opendocument.text"}), "archive"),
    "a jar": (zip_of({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0"}), "archive"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "archive"),
    "a picture": (advertisement("JPEG"), "picture"),
    "an iPhone's picture": (b"\0\0\0\x18ftypheic" + bytes(64), "picture"),
    "a program": (b"MZ\x00\x01" + bytes(range(256)), "PDF"),
    "gzip": (b"\x1f\x8b\x08" + bytes(range(256)), "PDF"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_is_not_taken_says_what_is(name: str) -> None:
    data, word = NOT_TAKEN[name]
    with pytest.raises(UnsupportedFileType, match=word) as refused:
        text_of_file(data, field_name="file")
    assert "DOCX" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\n".join(CHINESE), "utf-8"),
        ("\n".join(CHINESE), "gb18030"),
        ("\n".join(CHINESE), "utf-16"),
        ("Zoë’s résumé – “ten years” at Société Générale", "cp1252"),
        ("Ann Lee – engineer", "utf-8-sig"),
    ],
)
def test_a_text_is_read_in_its_encoding(text: str, encoding: str) -> None:
    assert document_text(text.encode(encoding)) == text


def test_a_file_too_large_is_refused_before_it_is_looked_at() -> None:
    data = b"%PDF-" + bytes(MAX_FILE_BYTES)
    with pytest.raises(FileTooLarge, match=rf"{len(data)}.*{MAX_FILE_BYTES}"):
        text_of_file(data, field_name="file")


def test_a_document_of_a_book_s_length_is_too_long() -> None:
    with pytest.raises(TextTooLong):
        document_text(raw_pdf(b"BT /F1 9 Tf 9 9 Td (" + b"spam " * 40_000 + b") Tj ET"))


@pytest.mark.parametrize("error", [UnreadableFile, UnsupportedFileType, TextTooLong])
def test_a_refusal_is_one_of_the_caller_s(error: type[Refused]) -> None:
    assert 400 <= error.status < 500
