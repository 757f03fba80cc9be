"""Packages as Cloud Run takes them: the zip that was built, as a tar.gz; the same bytes for the same zip."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from deployment.providers.placeholder_files import FILES

_LEVEL = 6
_PERMISSIONS = 0o777


def as_tar_gz(package: Path) -> bytes:
    """Return what a built package holds, file by file with its mode, as a tar.gz."""
    with zipfile.ZipFile(package) as archive:
        members = sorted((e for e in archive.infolist() if not e.is_dir()), key=lambda e: e.filename)
        return _packed(
            (each.filename, archive.read(each), (each.external_attr >> 16) & _PERMISSIONS or 0o644)
            for each in members
        )


def placeholder_package() -> bytes:
    """Return the package of what answers before the first release; the same bytes each time."""
    return _packed((path, text.encode(), mode) for path, text, mode in FILES)


def _packed(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    content = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=content, mode="wb", compresslevel=_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, data, mode in files:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()
