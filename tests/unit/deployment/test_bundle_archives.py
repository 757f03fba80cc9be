"""The zip writer: any reader understands it, order plays no part, and members are taken over unopened."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment.bundles.archives import deflate, read_archive, write_archive

NAMES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="/\\\0:"), min_size=1, max_size=12
)
FILES = st.dictionaries(
    NAMES.filter(lambda name: name not in {".", ".."}), st.binary(max_size=3000), max_size=8
)


@given(files=FILES)
def test_what_is_written_is_what_any_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    file = tmp_path_factory.mktemp("zip") / "a.zip"
    write_archive([deflate(name, content) for name, content in files.items()], file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


@given(files=FILES)
def test_members_taken_over_from_another_archive_make_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    members = [deflate(name, content, executable=len(content) % 2 == 0) for name, content in files.items()]
    write_archive(members, folder / "a.zip")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}

    again = read_archive(folder / "a.zip", digests)
    write_archive(reversed(again), folder / "b.zip")

    assert sorted(again, key=lambda member: member.path) == sorted(members, key=lambda member: member.path)
    assert (folder / "a.zip").read_bytes() == (folder / "b.zip").read_bytes()


@pytest.mark.skipif(shutil.which("unzip") is None, reason="this machine has no unzip")
def test_another_unzip_reads_it_and_keeps_the_modes(tmp_path: Path) -> None:
    write_archive(
        [deflate("run.sh", b"#!/bin/sh\n", executable=True), deflate("a/b", b"")], tmp_path / "a.zip"
    )
    subprocess.run(["unzip", "-q", "a.zip", "-d", "out"], cwd=tmp_path, check=True)
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/a/b", os.X_OK) or (tmp_path / "out/a/b").stat().st_mode & 0o111 == 0


def test_more_members_than_a_zip_holds_are_refused(tmp_path: Path) -> None:
    member = deflate("a", b"")
    with pytest.raises(ValueError, match="65535 members"):
        write_archive([member] * 0xFFFF, tmp_path / "a.zip")
