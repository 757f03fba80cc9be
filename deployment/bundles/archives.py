"""Zip archives that are the same bytes whoever writes them, and whose members can be taken over unopened.

The dependencies of five lanes are the same files: they are deflated once, and each package takes them over as
they are. That, and the fixed order, times and modes, is why the writer is our own. The bytes still depend on
the build of zlib, so an archive is never an identity: that is the digest over what is in it.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LEVEL = 6  # the highest one saves 1 % and takes four times as long
_TIME, _DATE = 0, (1 << 5) | 1  # 1980-01-01, the first day a zip can say
_UTF8, _DEFLATED, _UNIX, _NEEDS = 1 << 11, 8, 3, 20
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s2B5H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_MOST_MEMBERS = 0xFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, deflated."""

    path: str
    mode: int
    """0o644 or 0o755."""
    sha256: str
    """Of the content, hexadecimal."""
    size_bytes: int
    crc: int
    deflated: bytes

    @property
    def compiled(self) -> bool:
        """Return whether this is bytecode: made from another member, no part of any identity."""
        return self.path.endswith(".pyc")


def deflate(path: str, content: bytes, *, executable: bool = False) -> Member:
    """Return a file as a member of an archive."""
    press = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Member(
        path=path,
        mode=0o755 if executable else 0o644,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        crc=zlib.crc32(content),
        deflated=press.compress(content) + press.flush(),
    )


def write_archive(members: Iterable[Member], file: Path) -> None:
    """Write an archive of `members`, in the order of their paths."""
    ordered = sorted(members, key=lambda member: member.path)
    if len(ordered) >= _MOST_MEMBERS:
        raise ValueError(f"{file.name}: {len(ordered)} members are more than a zip holds")
    with file.open("wb") as archive:
        central = b"".join([_append(archive, member) for member in ordered])
        start = archive.tell()
        archive.write(central)
        archive.write(
            _END.pack(b"PK\5\6", 0, 0, len(ordered), len(ordered), len(central), start, 0),
        )


def read_archive(file: Path, digests: Mapping[str, str]) -> list[Member]:
    """Return the members of an archive that `write_archive` wrote, without inflating one.

    Args:
        file: the archive.
        digests: each member's sha256, which a zip does not hold, by path.
    """
    with zipfile.ZipFile(file) as archive, file.open("rb") as raw:
        return [_member(info, raw, digests[info.filename]) for info in archive.infolist()]


def _append(archive: BinaryIO, member: Member) -> bytes:
    """Append one member and return its entry for the directory at the end."""
    name = member.path.encode()
    offset = archive.tell()
    flags = 0 if name.isascii() else _UTF8
    about = (_DEFLATED, _TIME, _DATE, member.crc, len(member.deflated), member.size_bytes, len(name))
    archive.write(_LOCAL.pack(b"PK\3\4", _NEEDS, flags, *about, 0) + name + member.deflated)
    attributes = (stat.S_IFREG | member.mode) << 16
    return (
        _CENTRAL.pack(b"PK\1\2", _NEEDS, _UNIX, _NEEDS, flags, *about, 0, 0, 0, 0, attributes, offset) + name
    )


def _member(info: zipfile.ZipInfo, raw: BinaryIO, sha256: str) -> Member:
    raw.seek(info.header_offset + _LOCAL.size + len(info.filename.encode()))
    deflated = raw.read(info.compress_size)
    mode = stat.S_IMODE(info.external_attr >> 16)
    return Member(info.filename, mode, sha256, info.file_size, info.CRC, deflated)
