"""What users send: texts of a known length, images of a known type. Decided by content, never by name."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from shared.errors import FileTooLarge, InvalidRequest, TextTooLong, UnsupportedFileType

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_RESUME_CHARS = 5_000
MAX_DETAILED_RESUME_CHARS = 16_000
MAX_JOB_CHARS = 16_000

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w=.+-]+)*;base64,(?P<data>.*)", re.DOTALL)
_DOCUMENTS = (b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf")
"""How PDF, DOCX, old Word and RTF begin; some of them could pass for text."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")
"""What no text has, and every other kind of file soon does."""
_CJK = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it was sent; `media_type` is what its first bytes say."""

    data: bytes = field(repr=False)
    media_type: str


def checked_text(value: str, *, field_name: str, max_chars: int) -> str:
    """Return a text without surrounding white space.

    Raises:
        InvalidRequest: there is nothing in it.
        TextTooLong: it has more than `max_chars` characters.
    """
    text = value.replace("\x00", "").strip()
    if not text:
        raise InvalidRequest("must not be empty", field=field_name)
    if len(text) > max_chars:
        raise TextTooLong(f"{field_name}: the text has {len(text)} characters; the limit is {max_chars}.")
    return text


def text_of_file(data: bytes, *, field_name: str) -> str:
    """Return the text of an uploaded file; plain text and Markdown are read, in any of the usual encodings.

    Raises:
        FileTooLarge: it has more than MAX_FILE_BYTES.
        UnsupportedFileType: its content is something else.
    """
    if len(data) > MAX_FILE_BYTES:
        raise FileTooLarge(f"{field_name}: the file has {len(data)} bytes; the limit is {MAX_FILE_BYTES}.")
    if data.startswith(_DOCUMENTS):
        raise UnsupportedFileType(f"{field_name}: PDF and Word files are not read here yet; send their text.")
    for encoding in _encodings(data):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text
    raise UnsupportedFileType(f"{field_name}: only plain text and Markdown are read here.")


def _encodings(data: bytes) -> tuple[str, ...]:
    """Return what to try: a byte-order mark decides; GB 18030 takes nearly all, so it is last."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("utf-16",)
    return ("utf-8-sig", "gb18030")


def image_of_data_url(value: str, *, field_name: str) -> Image:
    """Decode a `data:image/…;base64,…` URL.

    Raises:
        InvalidRequest: it is not a base64 data URL.
        FileTooLarge, UnsupportedFileType: as `checked_image`.
    """
    match = _DATA_URL.fullmatch(value.strip())
    if match is None:
        raise InvalidRequest("must be a data URL (data:image/png;base64,…)", field=field_name)
    if len(match["data"]) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise FileTooLarge(f"{field_name}: the image has more than {MAX_IMAGE_BYTES} bytes.")
    try:
        data = base64.b64decode(match["data"], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("is not valid base64", field=field_name) from None
    return checked_image(data, field_name=field_name)


def checked_image(data: bytes, *, field_name: str) -> Image:
    """Return an image of a supported type: PNG, JPEG or WebP."""
    if not data:
        raise InvalidRequest("must not be empty", field=field_name)
    if len(data) > MAX_IMAGE_BYTES:
        raise FileTooLarge(f"{field_name}: the image has more than {MAX_IMAGE_BYTES} bytes.")
    media_type = _media_type(data)
    if media_type is None:
        raise UnsupportedFileType(f"{field_name}: only PNG, JPEG and WebP images are supported.")
    return Image(data, media_type)


def locale_of(text: str) -> str:
    """Return the locale that a text is written in, for callers that name none."""
    return "zh" if len(_CJK.findall(text)) * 10 > len(text) else "en"


def _media_type(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
