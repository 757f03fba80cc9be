"""Files that are followed: each line once, when it is whole, whatever happens to the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.following import Follower
from devstack.frontend import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text("before\n")
    return path


@pytest.fixture
def heard(file: Path) -> Iterator[list[str]]:
    lines: list[str] = []
    with Follower([file, file.with_name("not-yet")], lines.append, every_seconds=0.005):
        yield lines


def append(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


def test_what_is_appended_is_heard_once_and_what_was_there_is_not(file: Path, heard: list[str]) -> None:
    append(file, "one\ntwo\n")
    until(lambda: len(heard) == 2 or None, "two lines")
    append(file, "three\n")
    until(lambda: len(heard) == 3 or None, "a third")
    assert heard == ["one", "two", "three"]


def test_half_a_line_is_heard_when_it_is_whole(file: Path, heard: list[str]) -> None:
    append(file, "a wh")
    append(file.with_name("not-yet"), "another file\n")
    until(lambda: heard or None, "the other file's line")
    append(file, "ole line\n")
    until(lambda: len(heard) == 2 or None, "the whole line")
    assert heard == ["another file", "a whole line"]


def test_a_file_that_is_begun_anew_is_heard_from_its_beginning(file: Path, heard: list[str]) -> None:
    file.write_text("new\n")
    until(lambda: heard or None, "the new line")
    assert heard == ["new"]


def test_what_was_written_just_before_the_end_is_heard(file: Path) -> None:
    lines: list[str] = []
    with Follower([file], lines.append, every_seconds=60):
        append(file, "last words\n")
    assert lines == ["last words"]
