"""Follows files that others append to, and hands on each line once it is whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY_SECONDS = 0.2


class Follower:
    """A context manager: while it is open, `hear` is told what is appended, from where the files are then."""

    def __init__(
        self, files: Iterable[Path], hear: Callable[[str], None], *, every_seconds: float = EVERY_SECONDS
    ) -> None:
        self._places = {file: file.stat().st_size if file.exists() else 0 for file in files}
        self._hear = hear
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(self._every_seconds):
            self._look()
        self._look()

    def _look(self) -> None:
        for file, place in self._places.items():
            if not file.exists():
                continue
            size = file.stat().st_size
            begin = place if place <= size else 0  # it was begun anew
            with file.open("rb") as opened:
                opened.seek(begin)
                whole, newline, _ = opened.read(size - begin).rpartition(b"\n")
            self._places[file] = begin + len(whole) + len(newline)
            for line in whole.decode(errors="replace").splitlines():
                self._hear(line)
