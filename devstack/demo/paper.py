"""The samples as people send them: résumés as PDF files, histories in Word, advertisements as phone photos.

    python -m devstack.demo.paper    # makes the files of devstack/demo/samples anew from its texts

The same texts give the same bytes, while the locked versions of the drawing libraries stay.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cvttf_NotoSansCJK_Regular as noto  # type: ignore[import-untyped]  # a font as a package
from docx import Document
from docx.shared import Pt
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from devstack.demo.material import SAMPLES, sample

FONT = Path(noto.__file__).with_name("NotoSansCJKtc-Regular.otf")
_DRAWN_ON = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
_PAPER_PIXELS = (1080, 1440)
_TILT_DEGREES = 1.4
_HEADING_CHARS = 16
_ORIENTATION, _TURN_RIGHT = 0x0112, 6
"""The EXIF tag that says how a phone was held, and what it says of one that was held upright."""


def resume_pdf(text: str) -> bytes:
    """Return a résumé on A4 pages, with its text layer: the name large, then a paragraph for each line."""
    pdf = FPDF(format="A4")
    pdf.set_creation_date(_DRAWN_ON)
    pdf.set_margin(22)
    pdf.set_auto_page_break(auto=True, margin=22)
    pdf.add_font("noto", fname=FONT)
    pdf.add_page()
    for size, height, line in _lines(text):
        pdf.set_font("noto", size=size)
        pdf.multi_cell(0, height, line or " ", align="L", new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _lines(text: str) -> Iterator[tuple[float, float, str]]:
    """Yield size (points), height (mm) and words of each line; a short one after an empty one is a title."""
    lines = ["", *text.strip().splitlines()]
    for before, line in itertools.pairwise(lines):
        if line == lines[1]:
            yield 20, 11, line
        elif line and not before and len(line) < _HEADING_CHARS:
            yield 13, 8, line
        elif line:
            yield 11, 6.4, line
        else:
            yield 6, 3.6, line


def history_docx(text: str) -> bytes:
    """Return a detailed history as a Word document: the name as its title, then a paragraph for each line."""
    document = Document()
    document.core_properties.author = document.core_properties.comments = ""
    document.core_properties.created = document.core_properties.modified = _DRAWN_ON
    document.styles["Normal"].font.size = Pt(10.5)
    title, *lines = text.strip().splitlines()
    document.add_heading(title, 0)
    for line in lines:
        document.add_paragraph(line)
    out = io.BytesIO()
    document.save(out)
    return _without_clock(out.getvalue())


def _without_clock(packed: bytes) -> bytes:
    """Return the same archive, its members dated as the drawing is: a ZIP remembers when it was packed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, _DRAWN_ON.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(member, old.read(name))
    return out.getvalue()


def photo(text: str) -> bytes:
    """Return a photo of an advertisement on a wall: tilted, unevenly lit, and lying on its side in the file.

    A JPEG; its EXIF orientation says how to turn it.
    """
    paper = Image.new("RGB", _PAPER_PIXELS, "#faf8f0")
    canvas = ImageDraw.Draw(paper)
    title, *lines = text.strip().splitlines()
    canvas.text((90, 80), title, fill="#23211f", font=ImageFont.truetype(FONT, 46))
    for row, line in enumerate(lines):
        canvas.text((90, 170 + row * 52), line, fill="#23211f", font=ImageFont.truetype(FONT, 31))
    wall = Image.new("RGB", (_PAPER_PIXELS[0] + 160, _PAPER_PIXELS[1] + 160), "#8d8478")
    wall.paste(paper.rotate(_TILT_DEGREES, Image.Resampling.BICUBIC, fillcolor="#8d8478"), (80, 80))
    return _jpeg_on_its_side(Image.composite(wall, Image.new("RGB", wall.size), _light(wall.size)))


def _light(size: tuple[int, int]) -> Image.Image:
    """Return how bright each place is: a lamp shines on the middle."""
    width, height = size
    falloff = Image.radial_gradient("L").point(lambda distance: 255 - distance * 2 // 5)
    around = falloff.resize((width * 2, height * 2))
    return around.crop((width // 2, height // 2, width // 2 + width, height // 2 + height))


def _jpeg_on_its_side(upright: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURN_RIGHT
    out = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", quality=70, optimize=True, exif=exif)
    return out.getvalue()


def main() -> None:
    """Make all of them anew."""
    for locale in ("en", "zh"):
        (SAMPLES / f"resume.{locale}.pdf").write_bytes(resume_pdf(sample(f"resume.{locale}")))
        (SAMPLES / f"history.{locale}.docx").write_bytes(history_docx(sample(f"history.{locale}")))
        (SAMPLES / f"job-photo.{locale}.jpg").write_bytes(photo(sample(f"job-image.{locale}")))


if __name__ == "__main__":
    main()
