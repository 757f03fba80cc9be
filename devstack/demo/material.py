"""The samples: résumés and advertisements as texts and as files, as a user of the product would send them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SAMPLES = Path(__file__).with_name("samples")
_WIDTH, _MARGIN, _LINE, _FONT_SIZE = 900, 40, 30, 20
_CONTENT_TYPES = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".jpg": "image/jpeg",
}


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file of the samples, ready for a form."""

    name: str

    @property
    def content(self) -> bytes:
        return (SAMPLES / self.name).read_bytes()

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[Path(self.name).suffix]


def sample(name: str) -> str:
    """Return a sample's text, for example `sample("resume.en")`."""
    return (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def draw(text: str) -> bytes:
    """Draw an advertisement as it hangs on a wall: black on paper, one line of text a line. Returns a PNG."""
    lines = text.strip().splitlines()
    font = ImageFont.load_default(_FONT_SIZE)
    image = Image.new("RGB", (_WIDTH, 2 * _MARGIN + _LINE * len(lines)), "#fbfaf5")
    canvas = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        canvas.text((_MARGIN, _MARGIN + row * _LINE), line, fill="#1b1b1f", font=font)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
