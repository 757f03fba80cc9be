"""What a function does after the web server's fork: loads once, lets requests wait for no more than they need."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployment.catalogue import ROOT
from shared.warming import THRESHOLDS, Late

DEADLINE_SECONDS = 60.0
FORKING = """
import gc, json, os, threading
from shared.warming import Late
{setting}
read, write = os.pipe()
def warm(handler):
    seen["collecting while warming"] = gc.isenabled()
    more()
seen = {{}}
late = Late(lambda: seen.setdefault("loaded in", os.getpid()), warm)
seen["before the fork"] = late.loaded
if (child := os.fork()) == 0:
    warming = [thread for thread in threading.enumerate() if thread.name == "warm"]
    for thread in warming: thread.join(30)
    said = dict(seen, own=os.getpid(), frozen=gc.get_freeze_count(), tracked=len(gc.get_objects()),
                thresholds=gc.get_threshold(), collecting=gc.isenabled(), alive=any(t.is_alive() for t in warming), got=late.get())
    os.write(write, json.dumps(said).encode())
    os._exit(0)
os.close(write)
os.waitpid(child, 0)
print(os.read(read, 65536).decode())
"""


def forked(setting: str) -> dict[str, Any]:
    """Return what the child of a process with a late handler saw, once that was warm."""
    program = FORKING.format(setting=setting)
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


def test_a_process_that_was_forked_loads_by_itself_and_its_parent_does_not() -> None:
    seen = forked("def more(): pass")
    assert seen["before the fork"] is None
    assert seen["loaded in"] == seen["own"] == seen["got"]


def test_what_was_imported_is_never_looked_at_by_the_collector_again() -> None:
    seen = forked("kept = []\ndef more(): kept.extend([] for _ in range(200_000))")
    assert not seen["collecting while warming"]
    assert seen["collecting"]
    assert seen["thresholds"] == list(THRESHOLDS)
    assert seen["frozen"] > 200_000
    assert seen["tracked"] < 5_000


def test_a_process_that_could_not_be_made_warm_collects_and_answers_all_the_same() -> None:
    seen = forked("def more(): raise OSError('no such library')")
    assert not seen["alive"]
    assert seen["collecting"]
    assert seen["got"] == seen["own"]


def test_many_requests_at_once_load_one_handler() -> None:
    made: list[object] = []
    together, another = threading.Barrier(8), threading.Event()

    def load() -> object:
        made.append(object())
        if len(made) > 1:
            another.set()
        another.wait(0.2)  # meanwhile whoever may load, too, does
        return made[-1]

    late = Late(load)

    def ask(_: int) -> object:
        together.wait(DEADLINE_SECONDS)
        return late.get()

    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(ask, range(8)))
    assert got == set(made)
    assert len(made) == 1


def test_a_handler_that_could_not_be_loaded_is_loaded_by_the_next_request() -> None:
    outcomes: list[object] = [ImportError("half of a file"), "the handler"]

    def load() -> object:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    late = Late(load)
    with pytest.raises(ImportError):
        late.get()
    assert late.loaded is None
    assert late.get() == late.loaded == "the handler"
