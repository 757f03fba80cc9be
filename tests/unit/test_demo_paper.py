"""The samples' files say what the samples' texts say."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from devstack.demo.material import SAMPLES, sample
from devstack.demo.paper import history_docx, photo, resume_pdf
from shared.actions.documents import document_text


def words(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_pdf_resume_reads_as_its_text(locale: str) -> None:
    for pdf in ((SAMPLES / f"resume.{locale}.pdf").read_bytes(), resume_pdf(sample(f"resume.{locale}"))):
        assert words(document_text(pdf)) == words(sample(f"resume.{locale}"))


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_word_history_reads_as_its_text(locale: str) -> None:
    kept = (SAMPLES / f"history.{locale}.docx").read_bytes()
    for docx in (kept, history_docx(sample(f"history.{locale}"))):
        assert words(document_text(docx)) == words(sample(f"history.{locale}"))


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_photo_is_the_one_that_its_text_gives(locale: str) -> None:
    """As it lies in the file, on its side; compressing may differ from machine to machine, and so by a little."""
    kept = Image.open(SAMPLES / f"job-photo.{locale}.jpg")
    drawn = Image.open(io.BytesIO(photo(sample(f"job-image.{locale}"))))
    assert (kept.size, kept.getexif()[0x0112]) == (drawn.size, 6)
    small = [picture.convert("L").resize((64, 48)).tobytes() for picture in (kept, drawn)]
    assert max(abs(one - other) for one, other in zip(*small, strict=True)) < 16
