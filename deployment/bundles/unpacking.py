"""Packages unpacked on this machine, to look at what they load, to test them, and to run them locally.

Each file is written once, below `.files/` by its content, and linked into every tree that has it: the five
lanes share all but a handful. So the files are read-only, and a tree that stands is never written to again.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from deployment.bundles.exclusion import exclusive
from deployment.bundles.manifests import PackagedFile


def unpack(archive: Path, files: Iterable[PackagedFile], tree: Path) -> Path:
    """Unpack a package to `tree`, unless that stands, and return it.

    Several processes may unpack into one folder at once; one that is killed leaves no half of a tree.

    Args:
        archive: the package's zip.
        files: what its manifest says of them.
        tree: where it is to stand; what it shares with the other trees beside it is kept there too.
    """
    folder = tree.parent
    with exclusive(folder):
        if tree.is_dir():
            return tree
        work = folder / ".work"
        shutil.rmtree(work, ignore_errors=True)  # a killed one's
        work.mkdir()
        with zipfile.ZipFile(archive) as opened:
            _link(opened, list(files), work, folder / ".files")
        work.rename(tree)
    return tree


def _link(archive: zipfile.ZipFile, files: Iterable[PackagedFile], tree: Path, pool: Path) -> None:
    for file in files:
        kept = pool / file.sha256[:2] / f"{file.sha256}.{file.mode}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = pool / ".new"
            aside.unlink(missing_ok=True)
            aside.write_bytes(archive.read(file.path))
            aside.chmod(int(file.mode, 8) & ~0o222)
            aside.rename(kept)
        place = tree / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(kept)
