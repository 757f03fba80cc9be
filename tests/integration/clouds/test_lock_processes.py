"""The lock of an environment on AWS, taken by processes of their own: one proceeds, a killed one is taken over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from deployment.lock import LOCK_KEY, read_lock
from deployment.providers.aws.bucket import Bucket
from deployment.providers.aws.provider import AwsProvider
from devstack.clouds.aws import Emulated
from devstack.clouds.aws.emulated import ROOT
from devstack.frontend import until
from tests.unit.deployment.aws_kit import REGION, environment

CONTENDERS = 2
LEASE_SECONDS = 4.0
SECONDS = 80.0

CONTEND = """
import sys
from pathlib import Path
from deployment.errors import LockHeld
from deployment.lock import locked
from devstack.clouds.aws import open_emulated
from tests.integration.clouds.test_lock_processes import bucket

objects = bucket(open_emulated(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
try:
    with locked(objects, "apply --env staging", lease_seconds=float(sys.argv[2])) as held:
        print("token", held.token, flush=True)
        sys.stdin.readline()
except LockHeld as error:
    print(error, flush=True)
"""

pytestmark = pytest.mark.timeout(180)  # processes that import an SDK each, on a machine that may be busy


def bucket(emulated: Emulated) -> Bucket:
    """Return the store of an environment as a command opens it."""
    at = environment()
    assert at.aws is not None
    session: Any = emulated.session(REGION, account=at.aws.account)
    return AwsProvider(at, {}, session, transport=emulated.transport()).objects


class Contender:
    """A process that takes the lock when it is told, and holds it until it is told again."""

    def __init__(self, emulated: Emulated) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTEND, str(emulated.folder), str(LEASE_SECONDS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def told(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()


@contextmanager
def contenders(emulated: Emulated, count: int) -> Iterator[list[Contender]]:
    with ExitStack() as stack:
        started = [Contender(emulated) for _ in range(count)]
        for each in started:
            stack.enter_context(each.process)
            stack.callback(each.process.kill)
        assert [each.says() for each in started] == ["ready"] * count
        yield started


@pytest.fixture
def objects(emulated: Emulated) -> Bucket:
    """The environment's bucket, in which nobody has locked anything yet."""
    store = bucket(emulated)
    store.ensure()
    store.delete(LOCK_KEY)
    return store


def test_of_processes_that_start_at_once_exactly_one_proceeds_and_names_itself(
    emulated: Emulated, objects: Bucket
) -> None:
    with contenders(emulated, CONTENDERS) as rivals:
        for each in rivals:
            each.told()
        said = {each: each.says() for each in rivals}
        (winner,) = (each for each in rivals if said[each] == "token 1")
        for refusal in (said[each] for each in rivals if each is not winner):
            assert f"pid {winner.process.pid}" in refusal or "just locked" in refusal
        winner.told()
        assert winner.process.wait(SECONDS) == 0
    assert read_lock(objects) is None


def test_a_process_that_was_killed_is_taken_over_once_its_lease_is_over(
    emulated: Emulated, objects: Bucket
) -> None:
    with contenders(emulated, 1) as (killed,):
        killed.told()
        assert killed.says() == "token 1"
        killed.process.kill()
        killed.process.wait(SECONDS)
        held = objects.get(LOCK_KEY)
        assert held is not None
        assert json.loads(held.content)["pid"] == killed.process.pid
    until(lambda: _taken(emulated) or None, "the lock of the killed process to be taken over", SECONDS)


def _taken(emulated: Emulated) -> bool:
    with contenders(emulated, 1) as (successor,):
        successor.told()
        if successor.says() != "token 2":
            return False
        successor.told()
        return successor.process.wait(SECONDS) == 0
