"""Files of an environment on this machine: for this user alone, and whole or not there at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FOLDER_MODE = 0o700


def make_private(folder: Path) -> Path:
    """Make a folder, and what it stands in, for this user alone; what is there is left as it is."""
    for each in reversed((folder, *folder.parents)):
        if not each.is_dir():
            each.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600; whoever reads it finds what was there before, or all of this."""
    make_private(path.parent)
    handle, aside = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
