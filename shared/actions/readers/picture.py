"""Reading a picture of an advertisement: really decoded, turned upright, scaled down, and written anew.

The model needs legible letters, not pixels: a photo is scaled to a long side of 2,048 pixels. A screenshot of
a long page is kept wider, for its letters would be gone: its short side may have 1,024 pixels as long as the
whole has no more than four million and no side is longer than the model takes. Nothing but the pixels
survives: no EXIF, no place, no profile (colours are turned to sRGB). The same bytes give the same picture.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings

from PIL import Image, ImageCms, UnidentifiedImageError

from shared.actions.readers.answer import Outcome, Unreadable

MIN_SIDE_PIXELS = 32
MAX_SIDE_PIXELS = 6_000
LONG_SIDE_PIXELS = 2_048
SHORT_SIDE_PIXELS = 1_024
MAX_PIXELS = 4_000_000
MAX_DECODED_PIXELS = 40_000_000
MAX_JPEG_PIXELS = 120_000_000
"""A JPEG can be decoded at a half, a quarter or an eighth of its size."""
MAX_PICTURE_BYTES = 1_500_000
FEW_COLOURS = 256
_QUALITIES = (88, 75, 55)
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each EXIF orientation asks for."""


def read_picture(data: bytes) -> tuple[str, bytes]:
    """Return a picture's media type and bytes as the model gets them.

    Raises:
        Unreadable: it cannot be decoded, is too small to read, or too large to decode.
    """
    Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
            return _encoded(_plain(opened))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(Outcome.TOO_HARD) from None
    except UnidentifiedImageError:
        raise Unreadable(Outcome.BROKEN) from None


def _plain(opened: Image.Image) -> Image.Image:
    """Decode a picture into upright sRGB pixels of a size that the model can use."""
    width, height = opened.size
    if min(width, height) < MIN_SIDE_PIXELS:
        raise Unreadable(Outcome.TOO_SMALL)
    scale = _scale(width, height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if min(size) < MIN_SIDE_PIXELS:
        raise Unreadable(Outcome.TOO_SMALL)
    opened.draft(None, size)
    if opened.width * opened.height > MAX_DECODED_PIXELS:
        raise Unreadable(Outcome.TOO_HARD)
    turn = _TURNS.get(_orientation(opened))
    picture = _flat(opened)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    picture = _in_srgb(picture, opened.info.get("icc_profile"))
    return picture if turn is None else picture.transpose(turn)


def _orientation(opened: Image.Image) -> int:
    """Return how a camera was held; a picture whose EXIF cannot be read is taken as upright."""
    with contextlib.suppress(Exception):
        return int(opened.getexif().get(_EXIF_ORIENTATION, 1))
    return 1


def _flat(opened: Image.Image) -> Image.Image:
    """Decode the first picture of a file, on white where it is transparent."""
    opened.load()
    if opened.has_transparency_data:
        clear = opened.convert("RGBA")
        white = Image.new("RGB", clear.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    if opened.mode.startswith(
        "I"
    ):  # sixteen bits a pixel: plain conversion would turn nearly all of it white
        return opened.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    if opened.mode in {"L", "RGB", "CMYK"}:
        return opened
    return opened.convert("L" if opened.mode == "1" else "RGB")


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Turn colours to sRGB; a profile that is broken, or of another kind of colour, is ignored."""
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            turned = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
            if turned is not None:
                return turned
    return picture.convert("RGB")


def _scale(width: int, height: int) -> float:
    """Return by how much a picture is scaled down; see the top of this file."""
    long, short = max(width, height), min(width, height)
    kept_wide = min(
        SHORT_SIDE_PIXELS / short, math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE_PIXELS / long
    )
    return min(1.0, max(LONG_SIDE_PIXELS / long, kept_wide))


def _encoded(picture: Image.Image) -> tuple[str, bytes]:
    """Return a picture as JPEG, as good as the size allows; a drawing as PNG when that is smaller."""
    picture.info.clear()
    photo = _photo(picture)
    if picture.getcolors(FEW_COLOURS) is not None:
        drawing = _saved(picture, "PNG", compress_level=6)
        if len(drawing) < len(photo):
            return "image/png", drawing
    return "image/jpeg", photo


def _photo(picture: Image.Image) -> bytes:
    """Return a JPEG within the limit; one that is mostly noise is halved, for no quality would do."""
    for quality in _QUALITIES:
        photo = _saved(picture, "JPEG", quality=quality, subsampling=0)
        if len(photo) <= MAX_PICTURE_BYTES:
            return photo
    return _photo(picture.reduce(2))


def _saved(picture: Image.Image, format_name: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format_name, **options)
    return out.getvalue()
