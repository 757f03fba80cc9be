"""The dev stack as a program: its page answers, and its end leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deployment.catalogue import load_catalogue

DEADLINE_SECONDS = 60.0
STRANGER = "http://evil.example"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Life:
    """What was seen of one stack, from its start to its end by a signal."""

    printed: str
    statuses: dict[str, int]
    """How each address was answered that the page needs or leads to."""
    lanes: set[str]
    sample: bytes
    outside: int
    """The answer to a path that leads out of the samples' folder."""
    allowed: dict[str, str | None]
    """By origin, which origin `actions` said may read its answer."""
    started: set[int]
    left: set[int]
    status: int


@contextlib.contextmanager
def up(build_folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `make up` as a process; yields it and what it printed."""
    log = build_folder / "printed"
    command = [sys.executable, "-m", "devstack.up", "--build-folder", str(build_folder)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "Ctrl-C ends" in log.read_text() or process.poll() is not None, "the stack")
        yield process, log.read_text()
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


@pytest.fixture(scope="module", params=[signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def life(request: pytest.FixtureRequest, build_folder: Path) -> Life:
    """Boot a stack, look at its page, and end it as a terminal and as a supervisor do, impatiently."""
    with up(build_folder) as (process, printed):
        found = re.search(r"page +(http://127\.0\.0\.1:\d+)/dev/sse", printed)
        assert found, printed
        page = found.group(1)
        with httpx.Client(base_url=page, follow_redirects=True) as http:
            addresses = re.findall(r'(?:href|src)="(/[^"]+)"', http.get("/dev/sse").text)
            statuses = {address: http.get(address).status_code for address in addresses}
            lanes = set(http.get("/dev/gauges").json()["places"])
            sample = http.get("/dev/samples/advertisement.png").content
            outside = http.get("/dev/samples/../stack.txt").status_code
        allowed = {origin: allowed_to(page, origin) for origin in (page, STRANGER)}
        started = children(process.pid)
        process.send_signal(request.param)
        process.send_signal(request.param)  # impatience does not break the cleaning up off
        status = process.wait(DEADLINE_SECONDS)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not any(is_alive(pid) for pid in started), "its children's end")
    left = {pid for pid in started if is_alive(pid)}
    return Life(printed, statuses, lanes, sample, outside, allowed, started, left, status)


def allowed_to(page: str, origin: str) -> str | None:
    """Return which origin `actions` lets read a user's quota that was asked for from `origin`."""
    actions = httpx.get(f"{page}/dev/config").json()["actionsUrl"]
    token = httpx.get(f"{page}/dev/token", params={"user": "ann"}).json()["token"]
    answer = httpx.get(f"{actions}/quota", headers={"Authorization": f"Bearer {token}", "Origin": origin})
    assert answer.json()["balance"] == 8
    allowed: str | None = answer.headers.get("Access-Control-Allow-Origin")
    return allowed


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


def test_the_page_and_what_it_needs_are_served(life: Life) -> None:
    assert len(life.statuses) > 2
    assert set(life.statuses.values()) == {200}
    assert life.lanes == load_catalogue().keys() - {"actions", "events"}
    assert life.sample.startswith(b"\x89PNG")
    assert life.outside == 404


def test_the_page_may_call_actions_and_a_stranger_s_page_may_not(life: Life) -> None:
    (page,) = life.allowed.keys() - {STRANGER}
    assert life.allowed == {page: page, STRANGER: None}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process table of Linux")
def test_the_stack_ends_everything_that_it_started(life: Life) -> None:
    assert len(life.started) > len(load_catalogue()), life.printed
    assert (life.status, life.left) == (0, set())
