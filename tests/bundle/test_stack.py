"""The dev stack as a program: its page answers, and its end leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from deployment.catalogue import load_catalogue

DEADLINE_SECONDS = 60.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def up(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `make up` as a process; yields it and what it printed."""
    log = folder / "log"
    command = [sys.executable, "-m", "devstack.up", "--build-folder", str(folder / "build")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "Ctrl-C ends" in log.read_text() or process.poll() is not None, "the stack")
        yield process, log.read_text()
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running stack's page server."""
    with up(tmp_path_factory.mktemp("up")) as (_, printed):
        found = re.search(r"page +(http://127\.0\.0\.1:\d+)/dev/sse", printed)
        assert found, printed
        yield found.group(1)


def children(pid: int) -> set[int]:
    """Return all processes below one, workers of workers too."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_page_and_what_it_needs_are_served(page: str) -> None:
    with httpx.Client(base_url=page) as http:
        for address in re.findall(r'(?:href|src)="(/[^"]+)"', http.get("/dev/sse").text):
            assert http.get(address).status_code == 200
        assert set(http.get("/dev/gauges").json()["places"]) == load_catalogue().keys() - {
            "actions",
            "events",
        }
        assert http.get("/dev/samples/advertisement.png").content.startswith(b"\x89PNG")
        assert http.get("/dev/samples/../stack.txt").status_code == 404


def test_the_page_may_call_actions_and_a_stranger_s_page_may_not(page: str) -> None:
    actions = httpx.get(f"{page}/dev/config").json()["actionsUrl"]
    token = httpx.get(f"{page}/dev/token", params={"user": "ann"}).json()["token"]
    for origin, allowed in ((page, page), ("http://evil.example", None)):
        answer = httpx.get(f"{actions}/quota", headers={"Authorization": f"Bearer {token}", "Origin": origin})
        assert answer.json()["balance"] == 8
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process table of Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_stack_ends_everything_that_it_started(number: signal.Signals, tmp_path: Path) -> None:
    with up(tmp_path) as (process, printed):
        started = children(process.pid)
        assert len(started) > len(load_catalogue()), printed
        process.send_signal(number)
        process.send_signal(number)  # impatience does not break the cleaning up off
        assert process.wait(DEADLINE_SECONDS) == 0
        wait_for(lambda: not any(is_alive(pid) for pid in started), "its children's end")
