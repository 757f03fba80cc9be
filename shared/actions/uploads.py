"""What users send: texts of a known length, images of a known type. Decided by content, never by name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.actions.documents import document_text, picture
from shared.errors import FileTooLarge, InvalidRequest, TextTooLong, UnreadableFile, UnsupportedFileType

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_RESUME_CHARS = 5_000
MAX_DETAILED_RESUME_CHARS = 16_000
MAX_JOB_CHARS = 16_000

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w=.+-]+)*;base64,(?P<data>.*)", re.DOTALL)
_CJK = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Image:
    """An image as the model gets it, and its type."""

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
    """Return the text of an uploaded file: PDF, DOCX, plain text or Markdown.

    Raises:
        FileTooLarge: it has more than MAX_FILE_BYTES.
        UnsupportedFileType, UnreadableFile, TextTooLong: as `documents.document_text`.
        ReadersBusy: too many files are being read.
    """
    _check_size(data, MAX_FILE_BYTES, field_name)
    with _named(field_name):
        return document_text(data)


def image_bytes_of_url(value: str, *, field_name: str) -> bytes:
    """Decode a `data:image/…;base64,…` URL.

    Raises:
        InvalidRequest: it is not a base64 data URL.
        FileTooLarge, InvalidRequest: as `image_bytes`.
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
    return image_bytes(data, field_name=field_name)


def image_bytes(data: bytes, *, field_name: str) -> bytes:
    """Return what was sent as an image, if it is worth a look.

    Raises:
        InvalidRequest: there is nothing in it.
        FileTooLarge: it has more than MAX_IMAGE_BYTES.
    """
    if not data:
        raise InvalidRequest("must not be empty", field=field_name)
    _check_size(data, MAX_IMAGE_BYTES, field_name)
    return data


def checked_image(data: bytes, *, field_name: str) -> Image:
    """Return an image that decodes, upright and of a size that the model can use: PNG, JPEG or WebP.

    Raises:
        UnsupportedFileType, UnreadableFile: as `documents.picture`.
        ReadersBusy: too many files are being read.
    """
    with _named(field_name):
        return Image(*picture(data))


def _check_size(data: bytes, max_bytes: int, field_name: str) -> None:
    if len(data) > max_bytes:
        raise FileTooLarge(f"{field_name}: the file has {len(data)} bytes; the limit is {max_bytes}.")


@contextmanager
def _named(field_name: str) -> Iterator[None]:
    """Put the field's name before the message of a refusal."""
    try:
        yield
    except (UnreadableFile, UnsupportedFileType, TextTooLong) as error:
        raise type(error)(f"{field_name}: {error}") from None


def locale_of(text: str) -> str:
    """Return the locale that a text is written in, for callers that name none."""
    return "zh" if len(_CJK.findall(text)) * 10 > len(text) else "en"
