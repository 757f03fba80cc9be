"""RESP, just enough of it: where a command or a reply ends, and what a command is called.

A script is called by its file's name: EVALSHA names it by the SHA-1 of its source, EVAL carries the source.
"""

from __future__ import annotations

import functools
import hashlib
from asyncio import StreamReader
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.state.scripts import LUA_FOLDER, load_script

_BULKS = b"$=!"
_VALUES_PER_ITEM = {b"*": 1, b"~": 1, b">": 1, b"%": 2}
_HEADER = "#!lua"


async def read_frame(reader: StreamReader) -> bytes:
    """Read one whole value, raw.

    Raises:
        IncompleteReadError: the connection ended; cleanly when `partial` is empty.
    """
    head = await reader.readuntil(b"\r\n")
    kind = head[:1]
    if kind in _BULKS:
        length_bytes = int(head[1:])
        return head if length_bytes < 0 else head + await reader.readexactly(length_bytes + 2)
    values = _VALUES_PER_ITEM.get(kind, 0)
    if values:
        parts = [await read_frame(reader) for _ in range(values * max(0, int(head[1:])))]
        return head + b"".join(parts)
    return head


@dataclass(frozen=True, slots=True)
class Command:
    """A command on its way: its name in capitals and, for a script of the product, the script's."""

    name: str
    script: str | None = None
    frame: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, frame: bytes) -> Self:
        words = _words(frame)
        name = words[0].decode(errors="replace").upper() if words else ""
        return cls(name, _script(name, words), frame)

    def is_called(self, name: str) -> bool:
        """Tell whether `name` means this command: its own name, its script's, or nothing for any."""
        return name in {"", self.name, self.script}


def _words(frame: bytes) -> list[bytes]:
    if not frame.startswith(b"*"):
        return frame.split()
    words, at = [], frame.index(b"\r\n") + 2
    while at < len(frame):
        start = frame.index(b"\r\n", at) + 2
        end = start + int(frame[at + 1 : start])
        words.append(frame[start:end])
        at = end + 2
    return words


def _script(name: str, words: list[bytes]) -> str | None:
    if name not in {"EVAL", "EVALSHA"} or len(words) < 2:
        return None
    text = words[1].decode(errors="replace")
    if name == "EVAL":
        source = text.split("\n", 1)[1] if text.startswith(_HEADER) else text.removeprefix("\n")
        text = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return _names().get(text.lower())


@functools.cache
def _names() -> Mapping[str, str]:
    names = [path.stem for path in LUA_FOLDER.glob("*.lua") if not path.stem.startswith("lib_")]
    return {load_script(name).sha1: name for name in names}
