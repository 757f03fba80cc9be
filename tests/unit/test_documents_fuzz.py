"""Whatever is uploaded, the answer is a text, a picture, or a refusal: never an error of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.actions.documents import document_text, picture
from shared.actions.readers.fonts import Encoding
from shared.errors import Refused
from tests.documents_kit import CHINESE, advertisement, mutated, pdf_of, rich_docx, two_columns

STARTS = (
    b"",
    b"%PDF-1.7\n",
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"{\\rtf",
    b"\x89PNG\r\n\x1a\n",
)
ENDS = (b"", b"\nstartxref\n9\n%%EOF\n")
DOCUMENTS: Mapping[str, Callable[[], bytes]] = {
    "PDF": lambda: pdf_of(CHINESE),
    "columns": cache(lambda: two_columns(["a", "b", "c", "d"], ["e", "f", "g", "h"], head="head")),
    "DOCX": cache(rich_docx),
}


@given(st.sampled_from(STARTS), st.binary(max_size=2_000), st.sampled_from(ENDS))
@settings(max_examples=25, deadline=None)
def test_random_bytes_are_a_text_or_refused(start: bytes, middle: bytes, end: bytes) -> None:
    data = start + middle + end
    for read in (document_text, picture):
        with contextlib.suppress(Refused):
            assert isinstance(read(data), (str, tuple))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_damaged_document_is_a_text_or_refused(name: str, seed: int) -> None:
    with contextlib.suppress(Refused):
        assert isinstance(document_text(mutated(DOCUMENTS[name](), seed)), str)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_picture_is_a_picture_or_refused(format_name: str, seed: int) -> None:
    with contextlib.suppress(Refused):
        assert picture(mutated(advertisement(format_name, width=320, height=200), seed))[1].startswith(
            "image/"
        )


@given(st.binary(max_size=200), st.binary(max_size=64))
@settings(max_examples=100, deadline=None)
def test_any_encoding_of_a_font_takes_any_string(source: bytes, text: bytes) -> None:
    wrapped = b"1 begincodespacerange <00> <80> <8140> <FEFE> endcodespacerange 1 begincidrange " + source
    encoding = Encoding(wrapped + b" <20> <7e> 1 endcidrange")
    assert all(code <= 0xFFFF for code in encoding.codes(text))
