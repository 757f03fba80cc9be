"""`make demo` as somebody runs it: to its end in a log, and broken off at a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("--first-token-ms", "50", "--tokens-per-second", "400")
LONG_SECONDS = 240


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "devstack.demo", "--build", str(folder / "build"), *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Everything that is started can be told by this folder, which stands in its environment."""
    (folder / "temporary").mkdir()
    known = {name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE") if name in os.environ}
    return known | {"TMPDIR": str(folder / "temporary"), "TERM": "xterm-256color"}


def left_behind(folder: Path) -> list[str]:
    """Return the processes that have the folder in their environment, and what is still in it."""
    mark = str(folder / "temporary").encode()
    found = [str(path) for path in (folder / "temporary").iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
    return found


@pytest.mark.timeout(LONG_SECONDS)
def test_the_demo_holds_in_a_log_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        command(tmp_path, *QUICK),
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        check=False,
        text=True,
        timeout=LONG_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "All of it held: 18 of 18 claims" in ended.stdout
    assert ended.stdout.replace("\n", "").isprintable()
    assert len(ended.stdout.splitlines()) < 200
    assert "| yes | Killed work was done again, whole |" in (tmp_path / "build" / "acceptance.md").read_text()
    assert left_behind(tmp_path) == []


def read_until(terminal: int, holds: Callable[[str], bool]) -> str:
    """Read a terminal until what came holds, or nothing more comes."""
    text = b""
    deadline = time.monotonic() + LONG_SECONDS
    while time.monotonic() < deadline and not holds(text.decode(errors="replace")):
        try:
            text += os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody has the other end any more
            break
    return text.decode(errors="replace")


@pytest.mark.timeout(LONG_SECONDS)
@pytest.mark.parametrize("moment", ["while it boots", "in mid-story"])
def test_ctrl_c_ends_all_of_it_says_so_and_gives_the_terminal_back(moment: str, tmp_path: Path) -> None:
    seen = {"while it boots": "seven functions", "in mid-story": "paid_batch"}[moment]
    terminal, other_end = pty.openpty()
    demo = subprocess.Popen(
        command(tmp_path),
        cwd=ROOT,
        env={**environment(tmp_path), "COLUMNS": "90", "LINES": "30"},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509  # one system call, which takes no lock
    )
    os.close(other_end)
    began = read_until(terminal, lambda text: seen in text)
    assert seen in began
    os.write(terminal, b"\x03")
    rest = read_until(terminal, lambda _: False)
    os.close(terminal)
    assert demo.wait(LONG_SECONDS) == 130
    assert "nothing is left running" in rest
    assert "Traceback" not in began + rest
    whole = began + rest
    assert whole.count("\x1b[?1049h") == whole.count("\x1b[?1049l")
    assert whole.rfind("\x1b[?25h") >= whole.rfind("\x1b[?25l")
    assert left_behind(tmp_path) == []


def _take_terminal() -> None:
    """Make the terminal that stands at 0 the one whose Ctrl-C reaches this session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
