"""The emulated Google Cloud as a process: found again by the next command, ended with all that it runs."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from devstack.clouds.background import find
from devstack.clouds.gcp import open_emulated, shut_down
from devstack.frontend import until

PROJECT = "/v1/projects/sluice-emulated"

pytestmark = pytest.mark.timeout(180)  # a process starts, on a machine that may be busy


def test_the_next_command_finds_the_same_one_and_what_is_in_it(tmp_path: Path) -> None:
    emulated = open_emulated(tmp_path)
    try:
        with httpx.Client(transport=emulated.transport(), timeout=60) as client:
            made = {"accountId": "found-again"}
            client.post(f"http://{emulated.host}{PROJECT}/serviceAccounts", json=made).raise_for_status()
            again = open_emulated(tmp_path)
            assert again == emulated
            email = "found-again@sluice-emulated.iam.gserviceaccount.com"
            answer = client.get(f"http://{again.host}{PROJECT}/serviceAccounts/{email}")
            assert answer.status_code == 200
            assert client.get("https://no-such-123456789012.europe-west3.run.app/").status_code == 404
    finally:
        shut_down(tmp_path)
    assert find(tmp_path) is None
    until(lambda: not _lives(emulated.pid) or None, "the emulator to end", 60)
    shut_down(tmp_path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
