"""The samples: résumés and advertisements as files, and an advertisement drawn as an image on demand."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SAMPLES = Path(__file__).with_name("samples")
_WIDTH, _MARGIN, _LINE, _FONT_SIZE = 900, 40, 30, 20


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


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
