"""Real files as people send them: résumés as PDF and DOCX, photos of an advertisement; and files that mean harm.

All of it is made here, with the fonts that the packages of development bring along.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import string
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cvttf_NotoSansCJK_Regular  # type: ignore[import-untyped]  # a package that holds nothing but a font
import docx
from docx.document import Document
from docx.oxml import parse_xml
from fontTools.subset import Options, Subsetter, load_font, save_font  # type: ignore[import-untyped]
from fpdf import FPDF
from fpdf.enums import EncryptionMethod
from PIL import Image, ImageDraw, ImageFont

from deployment.bundles.staging import BUILD_FOLDER

ENGLISH = (
    "Ann Lee",
    "Senior engineer with seven years of experience in payment systems.",
    "Acme Pay, 2019 to 2025: led the rewrite of the ledger; cut the p99 latency from 900 ms to 120 ms.",
)
CHINESE = (
    "林美",
    "高级工程师，八年支付系统经验，熟悉分布式事务与高可用架构。",
    "在某支付公司负责账务系统重构，将对账耗时从四小时降到十二分钟。",
)
MARK = "mark-of-the-photographer"
FONT = next(Path(cvttf_NotoSansCJK_Regular.__path__[0]).glob("*.otf"))
Draw = Callable[[FPDF], None]


@cache
def small_font() -> Path:
    """Return a font with the letters that stand in the tests' sources, cut out of the whole once for all runs.

    To parse the whole costs each document a second of a processor. A letter that this one lacks is warned of.
    """
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")]
    letters = sorted({*string.printable, *"".join(sources)})
    digest = hashlib.sha256("".join([FONT.name, *letters]).encode()).hexdigest()
    made = BUILD_FOLDER / "fonts" / f"{digest[:16]}.otf"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        aside = made.with_suffix(f".{os.getpid()}")
        _cut(letters, aside)
        aside.rename(made)
    return made


def _cut(letters: Sequence[str], file: Path) -> None:
    options = Options(layout_features=[], notdef_outline=True)
    subsetter = Subsetter(options)
    subsetter.populate(text="".join(letters))
    with load_font(FONT, options) as font:
        subsetter.subset(font)
        save_font(font, file, options)


# -- PDF -------------------------------------------------------------------------------------------------------------


def pdf(draw: Draw, *, pages: int = 1, page_format: Any = "A4") -> bytes:
    """Return a PDF whose pages are drawn by `draw`, in a font that has both languages."""
    document = FPDF(format=page_format)
    document.add_font("noto", fname=str(small_font()))
    document.set_font("noto", size=10)
    for _ in range(pages):
        document.add_page()
        draw(document)
    return bytes(document.output())


@cache
def pdf_of(lines: tuple[str, ...], *, pages: int = 1) -> bytes:
    """Return a PDF of paragraphs, each wrapped by the program that writes it."""

    def draw(document: FPDF) -> None:
        for line in lines:
            document.multi_cell(170, 6, line, align="L", new_x="LMARGIN", new_y="NEXT")
            document.ln(4)

    return pdf(draw, pages=pages)


def pdf_at(texts: Sequence[tuple[float, float, str]], *, size: float = 10) -> bytes:
    """Return a PDF with each text at (x, y) millimetres from the top left."""

    def draw(document: FPDF) -> None:
        document.set_font_size(size)
        for x, y, text in texts:
            document.text(x, y, text)

    return pdf(draw)


def two_columns(
    left: Sequence[str],
    right: Sequence[str],
    *,
    head: str,
    offset: float = 0,
    leading: float = 6,
    at: float = 85,
) -> bytes:
    """Return a PDF with a head across, and two columns written row by row, as some programs do."""
    texts = [(20.0, 20.0, head)]
    for row in range(max(len(left), len(right))):
        if row < len(left):
            texts.append((20, 34 + row * leading, left[row]))
        if row < len(right):
            texts.append((at, 34 + offset + row * leading, right[row]))
    return pdf_at(texts)


def scanned_pdf(*, stamp: str | None = None) -> bytes:
    """Return a PDF of a picture alone, with a scanner's stamp on it if asked."""

    def draw(document: FPDF) -> None:
        document.image(io.BytesIO(advertisement("JPEG")), 0, 0, 210, 297)
        if stamp:
            document.text(150, 290, stamp)

    return pdf(draw)


def encrypted_pdf(*, user_password: str, method: EncryptionMethod = EncryptionMethod.AES_128) -> bytes:
    document = FPDF()
    document.set_encryption("owner", user_password, encryption_method=method)
    document.add_page()
    document.set_font("helvetica", size=12)
    document.multi_cell(0, 8, " ".join(ENGLISH))
    return bytes(document.output())


HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def raw_pdf(content: bytes, *, pages: int = 1, compress: bool = True, font: bytes = HELVETICA) -> bytes:
    """Return a hand-made PDF whose every page shows the same content stream, in the font F1."""
    stream = zlib.compress(content, 1) if compress else content
    filters = b"/Filter /FlateDecode " if compress else b""
    kids = b" ".join(b"%d 0 R" % (5 + page) for page in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        font,
        b"<< %s/Length %d >>\nstream\n%s\nendstream" % (filters, len(stream), stream),
    ]
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 14400 14400] /Contents 4 0 R"
    objects += [page + b" /Resources << /Font << /F1 3 0 R >> >> >>"] * pages
    return _assembled(objects)


def named_font_pdf(text: str, *, to_unicode: bool) -> bytes:
    """Return a PDF in a Chinese font that it does not hold, as older office programs wrote them."""
    descendant = (
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo "
        b"<< /Registry (Adobe) /Ordering (GB1) /Supplement 4 >> /DW 1000 >>"
    )
    unicode_map = b"/ToUnicode /Identity-H " if to_unicode else b""
    font = (
        b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /GBK-EUC-H "
        + unicode_map
        + b"/DescendantFonts ["
        + descendant
        + b"] >>"
    )
    shown = b"BT /F1 12 Tf 100 700 Td <" + text.encode("gbk").hex().encode() + b"> Tj ET"
    return raw_pdf(shown, font=font)


def _assembled(objects: Sequence[bytes]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


# -- DOCX ------------------------------------------------------------------------------------------------------------

_BOX = (
    '<w:r xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape">'
    "<mc:AlternateContent><mc:Choice Requires='wps'><wps:txbx>{content}</wps:txbx></mc:Choice>"
    "<mc:Fallback><w:pict>{content}</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
)
_BOX_CONTENT = "<w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent>"
_CONTROL = (
    '<w:sdt xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:sdtContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:sdtContent></w:sdt>"
)
_TRACKED = (
    '<w:p xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:ins><w:r><w:t>{added}</w:t></w:r></w:ins><w:del><w:r><w:delText>{gone}</w:delText></w:r></w:del></w:p>"
)


def saved(document: Document) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def docx_of(lines: Sequence[str]) -> bytes:
    document = docx.Document()
    for line in lines:
        document.add_paragraph(line)
    return saved(document)


def rich_docx() -> bytes:
    """Return a DOCX with a header, a table, a list, a text box, a content control and tracked changes."""
    document = docx.Document()
    section = document.sections[0]
    section.header.paragraphs[0].text = "Ann Lee, confidential"
    section.footer.paragraphs[0].text = "Page of Ann"
    document.add_section().header.is_linked_to_previous = True
    document.add_paragraph("Summary of work")
    table = document.add_table(rows=2, cols=2)
    for row, (company, years) in zip(
        table.rows, [("Acme Pay", "2019–2025"), ("蓝鲸科技", "2015–2019")], strict=True
    ):
        row.cells[0].text, row.cells[1].text = company, years
    document.add_paragraph("Cut the latency", style="List Bullet")
    boxed = document.add_paragraph("Before the box")
    content = _BOX_CONTENT.format(text="Inside the box")
    boxed._p.append(parse_xml(_BOX.format(content=content)))
    body = document.element.body
    body.insert(len(body) - 1, parse_xml(_CONTROL.format(text="Inside the control")))
    body.insert(len(body) - 1, parse_xml(_TRACKED.format(added="Added later", gone="Deleted words")))
    document.add_paragraph("The end of it")
    return saved(document)


def repacked(data: bytes, changes: dict[str, bytes], *, level: int = 9) -> bytes:
    """Return a zip with some of its files changed or added."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as new,
    ):
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, content in changes.items():
            new.writestr(name, content)
    return out.getvalue()


def document_xml(body: str, *, doctype: str = "") -> bytes:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    start = f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<w:document xmlns:w="{space}"><w:body>'
    return f"{start}{body}</w:body></w:document>".encode()


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def lying_zip(data: bytes, real_size: int) -> bytes:
    """Return a zip whose file of `real_size` says that it unpacks to a hundred bytes."""
    return data.replace(real_size.to_bytes(4, "little"), (100).to_bytes(4, "little"))


# -- pictures --------------------------------------------------------------------------------------------------------


@cache
def drawn(width: int = 1200, height: int = 800, mode: str = "RGB") -> Image.Image:
    """Return a picture of an advertisement: a red corner at the top left says which way is up."""
    picture = Image.effect_noise((width // 4, height // 4), 12).resize((width, height)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width // 4, height // 4), fill=(220, 20, 20))
    font = ImageFont.truetype(str(FONT), max(height // 20, 8))
    pen.text(
        (width // 3, height // 3), "诚聘高级工程师\nSenior engineer wanted", fill=(10, 10, 10), font=font
    )
    return picture.convert(mode)


@cache
def advertisement(
    format_name: str = "JPEG", *, width: int = 1200, height: int = 800, mode: str = "RGB"
) -> bytes:
    out = io.BytesIO()
    drawn(width, height, mode).save(out, format_name)
    return out.getvalue()


def photo(orientation: int = 1, **options: Any) -> bytes:
    """Return a JPEG as a phone takes it: turned, with its place, its owner and a comment in it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = MARK
    exif.get_ifd(0x8825).update({1: "N", 2: (31.0, 14.0, 0.0), 29: MARK})
    out = io.BytesIO()
    drawn().save(out, "JPEG", exif=exif, comment=MARK.encode(), quality=90, **options)
    return out.getvalue()


def flat_png(width: int, height: int, mode: str = "L") -> bytes:
    """Return a PNG of one colour, written without ever holding its pixels: small, and huge when decoded."""
    colour_type, channels = {"L": (0, 1), "RGB": (2, 3), "RGBA": (6, 4)}[mode]
    data = _deflated_zeros(1 + width * channels, height)
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _deflated_zeros(row_bytes: int, rows: int) -> bytes:
    """Return a zlib stream of zeros: one row deflated, and told again and again (RFC 1950 and 1951)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    row = packer.compress(bytes(row_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    adler = (row_bytes * rows % 65_521) << 16 | 1
    return b"\x78\xda" + row * rows + packer.flush() + adler.to_bytes(4, "big")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def mutated(data: bytes, seed: int) -> bytes:
    """Return a file with some of its bytes changed, moved or gone."""
    chance, out = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(out))
        match chance.randrange(3):
            case 0:
                out[at] = chance.randrange(256)
            case 1:
                del out[at : at + chance.randint(1, 64)]
            case _:
                out[at:at] = out[: chance.randint(1, 64)]
    return bytes(out)


# -- what means harm -------------------------------------------------------------------------------------------------


def _show(text: bytes) -> bytes:
    return b"BT /F1 10 Tf 20 700 Td (" + text + b") Tj ET\n"


def _deep_docx() -> bytes:
    depth = 100_000
    return repacked(docx_of(["x"]), {"word/document.xml": document_xml("<w:p>" * depth + "</w:p>" * depth)})


def _entity_docx() -> bytes:
    """Return the billion laughs."""
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    doctype = f'<!DOCTYPE w:document [<!ENTITY e0 "ha">{levels}]>'
    body = "<w:p><w:r><w:t>&e9;</w:t></w:r></w:p>"
    return repacked(docx_of(["x"]), {"word/document.xml": document_xml(body, doctype=doctype)})


def _long_docx() -> bytes:
    body = "<w:p><w:r><w:t>spam and more spam</w:t></w:r></w:p>" * 300_000
    return repacked(docx_of(["x"]), {"word/document.xml": document_xml(body)})


def _lying_docx() -> bytes:
    content = document_xml(" " * 60_000_000)
    packed = repacked(docx_of(["x"]), {"word/document.xml": content})
    return packed.replace(len(content).to_bytes(4, "little"), (1_000).to_bytes(4, "little"))


def _endless_form() -> bytes:
    """Return a PDF whose every page shows a form a million times."""
    return raw_pdf(b"q Q 1 0 0 1 0 0 cm\n" * 3_000_000)


BOMBS: dict[str, Callable[[], bytes]] = {
    "a PDF that unpacks to far too much": lambda: raw_pdf(b" " * 450_000_000),
    "a PDF of drawings without end": lambda: raw_pdf(b"0 0 m 9 9 l S\n" * 4_000_000),
    "a PDF of nothing but states": _endless_form,
    "a PDF with a page of a million letters": lambda: raw_pdf(_show(b"spam " * 200_000)),
    "a PDF of ten thousand pages": lambda: raw_pdf(_show(b"page"), pages=10_000),
    "a DOCX that unpacks to far too much": lambda: repacked(
        docx_of(["x"]), {"word/document.xml": document_xml(" " * 90_000_000)}
    ),
    "a DOCX that lies about its size": _lying_docx,
    "a DOCX of deep XML": _deep_docx,
    "a DOCX of entities": _entity_docx,
    "a DOCX of a million paragraphs": _long_docx,
}
