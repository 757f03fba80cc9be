"""The text of an uploaded file, and a picture made fit for the model. What a file is, its content says.

Plain text is decoded here; whatever needs a parser goes through the sandbox, and each way of failing has a
message that says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.actions.readers.answer import MAX_TEXT_CHARS, Answer, Kind, Outcome
from shared.actions.sandbox import SANDBOX, Sandbox
from shared.errors import Refused, TextTooLong, UnreadableFile, UnsupportedFileType

TAKEN = "PDF, Word (DOCX), plain text and Markdown are taken"
_PDF_WITHIN_BYTES = 1024
_PDF_VERSION = re.compile(rb"%PDF-\d\.\d")
_OLD_WORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_WORD = "EncryptedPackage".encode("utf-16-le")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PAGE = re.compile(r"\s*(?:<!doctype html|<html|<\?xml|mime-version:)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")
"""What no text has, and every other kind of file soon does."""
_PAIR = re.compile(rb"[\xa1-\xf7][\xa1-\xfe]")
_HIGH = re.compile(rb"[\x80-\xff]")
_PICTURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
_OTHER_PICTURES = re.compile(rb"GIF8|BM|II\*\0|MM\0\*|....ftyp(?:hei|hev|mif|avif)", re.DOTALL)
_MESSAGES: Mapping[Outcome, str] = {
    Outcome.BROKEN: "the file is damaged or was cut off; save it again and send it once more.",
    Outcome.ENCRYPTED: "the file is protected by a password; save it without one and send it again.",
    Outcome.NO_TEXT: "the file has no text layer: it is a scan or a picture. Export it as PDF from "
    "the program that it was written in, or send its text.",
    Outcome.NO_LETTERS: "the file's letters cannot be told: its fonts lack their table of characters. "
    "Export it as DOCX, or send its text.",
    Outcome.TOO_MANY_PAGES: "the file has too many pages; at most 100 are read.",
    Outcome.TOO_HARD: "the file takes too much time or memory to read; save it in a simpler form, or "
    "send its text.",
}
_PICTURE_MESSAGES: Mapping[Outcome, str] = {
    Outcome.BROKEN: "the picture is damaged or was cut off; save it again and send it once more.",
    Outcome.TOO_SMALL: "the picture is too small to be read; each side needs at least 32 pixels.",
    Outcome.TOO_HARD: "the picture has too many pixels to be read; scale it down and send it again.",
}


def document_text(data: bytes, *, sandbox: Sandbox = SANDBOX) -> str:
    """Return the text of a PDF, a DOCX, a plain text or a Markdown file.

    Raises:
        UnsupportedFileType: its content is something else.
        UnreadableFile: it is one of these, but cannot be read; the message says why and what to do.
        TextTooLong: it holds more than MAX_TEXT_CHARS.
        ReadersBusy: too many are being read.
    """
    if _is_pdf(data):
        return _read_apart(Kind.PDF, data, sandbox)
    if data.startswith(_ZIP):
        return _read_apart(Kind.WORD, data, sandbox)
    if data.startswith(_OLD_WORD):
        raise _old_word(data)
    if data.startswith(b"{\\rtf"):
        raise UnsupportedFileType(f"this is an RTF file; save it as DOCX or PDF. {TAKEN}.")
    if media_type_of(data) or _OTHER_PICTURES.match(data):
        raise UnsupportedFileType(f"this is a picture, not a document. {TAKEN}.")
    return _plain_text(data)


def picture(data: bytes, *, sandbox: Sandbox = SANDBOX) -> tuple[bytes, str]:
    """Return a PNG, JPEG or WebP as the model gets it, and its media type.

    Raises:
        UnsupportedFileType: it is something else.
        UnreadableFile: it does not decode, is too small or too large.
        ReadersBusy: too many are being read.
    """
    if media_type_of(data) is None:
        kind = "this kind of picture is" if _OTHER_PICTURES.match(data) else "this is"
        raise UnsupportedFileType(f"{kind} not taken; send it as PNG, JPEG or WebP.")
    answer = sandbox.read(Kind.PICTURE, data)
    if answer.outcome is not Outcome.OK:
        raise UnreadableFile(_PICTURE_MESSAGES.get(answer.outcome, _PICTURE_MESSAGES[Outcome.BROKEN]))
    return answer.data, media_type_of(answer.data) or answer.media_type


def media_type_of(data: bytes) -> str | None:
    """Return the media type of a picture that is taken, by its first bytes."""
    return next((media_type for start, media_type in _PICTURES if start.match(data)), None)


def _is_pdf(data: bytes) -> bool:
    """Say whether this is a PDF; one with something before it must not be a text that speaks of PDF."""
    if data.startswith(b"%PDF-"):
        return True
    return bool(_PDF_VERSION.search(data, 0, _PDF_WITHIN_BYTES + 8)) and b"startxref" in data


def _read_apart(kind: Kind, data: bytes, sandbox: Sandbox) -> str:
    answer = sandbox.read(kind, data)
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer)
    return answer.data.decode("utf-8", "replace")


def _refusal(answer: Answer) -> Refused:
    if answer.outcome is Outcome.NOT_THIS_KIND:
        return UnsupportedFileType(f"this is an archive or a file of another program. {TAKEN}.")
    if answer.outcome is Outcome.TOO_LONG:
        return TextTooLong(f"the file has more than {MAX_TEXT_CHARS} characters of text.")
    return UnreadableFile(_MESSAGES.get(answer.outcome, _MESSAGES[Outcome.BROKEN]))


def _old_word(data: bytes) -> Refused:
    """Tell a new Word file with a password, which comes in the old one's wrapping, from the old kind."""
    if _ENCRYPTED_WORD in data:
        return UnreadableFile(_MESSAGES[Outcome.ENCRYPTED])
    return UnsupportedFileType(f"this is a file of old Office (.doc); save it as DOCX or PDF. {TAKEN}.")


def _plain_text(data: bytes) -> str:
    for encoding in _encodings(data):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _PAGE.match(text):
            raise UnsupportedFileType(
                f"this is a web page or XML, whatever its name; save it as DOCX or PDF. {TAKEN}."
            )
        if not _CONTROL.search(text):
            return text
    raise UnsupportedFileType(f"this kind of file is not read. {TAKEN}.")


def _encodings(data: bytes) -> tuple[str, ...]:
    """Return what to try: a byte-order mark decides; GB 18030 takes nearly all, so it is last.

    A Western text with a few accents would pass for Chinese: there the high bytes stand alone, here in pairs.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("utf-16",)
    paired = 2 * len(_PAIR.findall(data))
    is_western = len(_HIGH.findall(data)) > 2 * paired
    return ("utf-8-sig", "cp1252") if is_western else ("utf-8-sig", "gb18030")
