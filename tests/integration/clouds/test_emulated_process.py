"""The emulated AWS as a process: found again, shared, alone in its folder, gone when it should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.clouds.aws import Emulated, EmulatorError, open_emulated, shut_down
from devstack.clouds.aws.emulated import ROOT, find
from devstack.clouds.aws.strict.faults import CrashAt, Killed
from tests.integration.clouds.lambda_kit import deploy

CREATE = """
import sys
from pathlib import Path
from devstack.clouds.aws import open_emulated
client = open_emulated(Path(sys.argv[1])).session().client("s3")
try:
    client.put_object(Bucket="locks", Key="lock", Body=b"", IfNoneMatch="*")
    print("won")
except client.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def in_another_process(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_it_is_found_again_and_keeps_what_is_in_it(emulated: Emulated) -> None:
    emulated.session().client("iam").create_group(GroupName="kept")
    again = open_emulated(emulated.folder)
    assert again.place == emulated.place
    groups = again.session().client("iam").list_groups()["Groups"]
    assert "kept" in [each["GroupName"] for each in groups]


def test_of_several_processes_one_wins_a_conditional_write(emulated: Emulated) -> None:
    emulated.session().client("s3").create_bucket(
        Bucket="locks", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    contenders = [in_another_process(CREATE, emulated.folder) for _ in range(2)]
    said = sorted(each.communicate(timeout=80)[0].strip() for each in contenders)
    assert said == ["PreconditionFailed", "won"]


def test_two_sessions_see_one_another_and_have_recorders_of_their_own(
    emulated: Emulated, http: httpx.Client
) -> None:
    function = deploy(emulated, http, "shared")
    other = emulated.connect()
    client: Any = other.session.client("lambda")
    first = client.get_alias(FunctionName="shared", Name="live")["RevisionId"]
    function.client.update_alias(FunctionName="shared", Name="live", Description="moved")
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_alias(FunctionName="shared", Name="live", Description="late", RevisionId=first)
    assert [each.operation for each in other.strict.recorder.writes()] == ["UpdateAlias"]
    other.strict.inject(CrashAt(1))
    with pytest.raises(Killed):
        client.list_functions()
    function.client.list_functions()


def test_each_account_sees_its_own(emulated: Emulated) -> None:
    ours = emulated.session(account="210987654321")
    assert ours.client("sts").get_caller_identity()["Account"] == "210987654321"
    ours.client("iam").create_group(GroupName="theirs")
    groups = emulated.session().client("iam").list_groups()["Groups"]
    assert "theirs" not in [each["GroupName"] for each in groups]


def test_commands_that_start_at_once_share_one_process(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: open_emulated(tmp_path), range(2))
    assert first.place == second.place
    second_process = subprocess.run(
        [sys.executable, "-m", "devstack.clouds.aws", "--state", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert second_process.returncode == 1
    assert "runs already" in second_process.stderr
    assert "Traceback" not in second_process.stderr
    assert find(tmp_path) == first.place
    shut_down(tmp_path)


def test_it_ends_with_all_functions_and_a_new_one_starts_empty(tmp_path: Path) -> None:
    emulated = open_emulated(tmp_path)
    with httpx.Client(transport=emulated.transport(), timeout=60) as http:
        function = deploy(emulated, http, "ended")
        pid = function.get("/env").json()["pid"]
    os.kill(pid, 0)
    shut_down(tmp_path)
    shut_down(tmp_path)
    assert find(tmp_path) is None
    assert not (tmp_path / "unpacked").exists()
    assert within(30, lambda: not _lives(pid))
    again = open_emulated(tmp_path)
    client: Any = again.session().client("lambda")
    assert client.list_functions()["Functions"] == []
    shut_down(tmp_path)


def test_it_ends_when_its_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "aws"
    pid = open_emulated(folder).place.pid
    shutil.rmtree(folder)
    assert within(30, lambda: not _lives(pid))


def test_it_ends_when_nobody_calls_it(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "devstack.clouds.aws", "--state", str(tmp_path), "--idle-seconds", "0.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert ended.returncode == 0
    assert find(tmp_path) is None


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "strict.json").mkdir()
    with pytest.raises(EmulatorError, match=r"strict\.json"):
        open_emulated(tmp_path)


def test_wrong_usage_is_told_without_a_traceback() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "devstack.clouds.aws"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "--state" in ran.stderr


def _lives(pid: int) -> bool:
    """Tell whether a process still runs; one that only waits for its parent to notice has ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
