"""Packages as the emulated Lambda has them at /var/task."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.clouds.aws.gateway.unpacking import Unpacker


@pytest.fixture
def unpacker(tmp_path: Path) -> Iterator[Unpacker]:
    (tmp_path / "code").mkdir()
    made = Unpacker(tmp_path / "code", tmp_path / "unpacked")
    yield made
    made.remove()
    assert not (tmp_path / "unpacked").exists()


def keep(folder: Path, name: str, files: dict[str, str]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = (0o100755 if path == "run.sh" else 0o100644) << 16
            archive.writestr(member, text)
    (folder / "code" / f"{name}.zip").write_bytes(buffer.getvalue())


def test_what_is_unpacked_is_what_was_packed_and_cannot_be_written(
    tmp_path: Path, unpacker: Unpacker
) -> None:
    files = {"run.sh": "#!/bin/sh", "main.py": "one", "shared/llm/prompts/a.md": "text"}
    keep(tmp_path, "p", files)
    tree = unpacker.unpack("p")
    assert {
        path.relative_to(tree).as_posix(): path.read_text() for path in tree.rglob("*") if path.is_file()
    } == files
    modes = {path.relative_to(tree).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in tree.rglob("*")}
    assert modes.pop("run.sh") == 0o555
    assert modes.pop("main.py") == 0o444
    assert set(modes.values()) == {0o555, 0o444}
    assert stat.S_IMODE(tree.stat().st_mode) == 0o555


def test_packages_share_what_they_have_in_common_and_nothing_else(tmp_path: Path, unpacker: Unpacker) -> None:
    keep(tmp_path, "p", {"main.py": "one", "lib/a.py": "same"})
    keep(tmp_path, "q", {"main.py": "two", "lib/a.py": "same"})
    p, q = unpacker.unpack("p"), unpacker.unpack("q")
    assert (p / "lib/a.py").samefile(q / "lib/a.py")
    assert ((p / "main.py").read_text(), (q / "main.py").read_text()) == ("one", "two")


def test_a_package_is_unpacked_once_whoever_asks(tmp_path: Path, unpacker: Unpacker) -> None:
    keep(tmp_path, "p", {f"lib/{number}.py": str(number) for number in range(50)})
    with ThreadPoolExecutor(4) as pool:
        trees = set(pool.map(lambda _: unpacker.unpack("p"), range(8)))
    assert len(trees) == 1
    assert [each.name for each in (tmp_path / "unpacked").iterdir() if each.name != ".files"] == ["p"]
