"""Deploying to AWS through whatever can happen at each single call: the end is the same.

Two deployments are made again and again, a first one and a later one, and each time something else happens to
them. After each, all there is has to be what it is after an undisturbed one, and the next plan empty.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployment.ledger import past_of, releases
from deployment.planner import Desired, make_plan
from devstack.clouds.aws.strict.calls import Call, Timing
from devstack.clouds.aws.strict.faults import (
    Counts,
    CrashAt,
    Fault,
    Killed,
    LostResponse,
    ServerError,
    Throttle,
    every_call,
    writes_only,
)
from devstack.clouds.recorder import Recorded
from tests.unit.deployment.aws_kit import World, new_world, state

NAME = "free_stream"
QUICK = Timing(polls=1, role_calls=1, read_calls=1)
PARTS = 3
"""Each sweep goes in so many parts, so that they run side by side; together they are all writes."""
LEAST_WRITES = 8
"""A sweep of fewer would not have been one."""

pytestmark = pytest.mark.timeout(300)  # each is dozens of deployments


@dataclass
class Deployment:
    """One deployment, made again and again, each time from the same beginning."""

    world: World

    def begin(self) -> None:
        """Bring the world to where the deployment begins."""
        raise NotImplementedError

    def wanted(self) -> Desired:
        """Return what is deployed."""
        raise NotImplementedError

    def killed(self, at: int) -> bool:
        """Be killed at a write and deploy again as another process; return whether there was such a write."""
        self.begin()
        crash = CrashAt(at, counts=writes_only)
        self.world.aws.strict.inject(crash)
        with contextlib.suppress(Killed):
            self.world.apply(self.wanted())
        self.world.aws.strict.inject()
        self.world.later_seconds += 1000  # until the dead one's lock has lapsed
        self.world.apply(self.wanted())
        return crash.happened

    def disturbed(self, fault: Fault) -> None:
        """Deploy while a fault happens."""
        self.begin()
        self.world.aws.strict.inject(fault)
        self.world.apply(self.wanted())
        self.world.aws.strict.inject()

    def ended(self) -> dict[str, Any]:
        """Return where it ended, once nothing is left to do."""
        wanted, observed = self.wanted(), self.world.observe()
        past = past_of(releases(self.world.provider().objects), wanted.keep)
        assert make_plan(wanted, observed, past).empty
        return self.world.content(observed)


class First(Deployment):
    """Everything is made, from nothing."""

    def begin(self) -> None:
        remove(self.world)

    def wanted(self) -> Desired:
        return self.world.wanted(state(NAME))


class Later(Deployment):
    """Code and settings change, a hand-made change is undone, the revision of before and its package go."""

    turn = 0

    def begin(self) -> None:
        if self.turn == 0:
            self.world.apply(self.wanted())
        self.turn += 1  # there and back again: one release's end is the next one's beginning
        self.world.client("logs").put_retention_policy(
            logGroupName="/aws/lambda/sluice-staging-free-stream", retentionInDays=90
        )

    def wanted(self) -> Desired:
        code, seconds = (("a", 30), ("b", 20))[self.turn % 2]
        return self.world.wanted(state(NAME, code, timeout_seconds=seconds), keep=1)


class Once(Fault):
    """Another fault, at one call alone."""

    def __init__(self, at: int, fault: Fault, counts: Counts = every_call) -> None:
        super().__init__(counts)
        self._at = at
        self._fault = fault

    def before(self, call: Call, number: int) -> None:
        if number == self._at:
            self._fault.before(call, 1)

    def after(self, call: Call, number: int) -> None:
        if number == self._at:
            self._fault.after(call, 1)


class Always(Fault):
    """Another fault, at the first attempt of every call."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault
        self._now: Recorded | None = None
        self._failed: Recorded | None = None

    def number(self, recorded: Recorded) -> int:
        """Return 0 for the attempt that follows one which was made to fail."""
        super().number(recorded)
        again, self._now, self._failed = recorded == self._failed, recorded, None
        return 0 if again else 1

    def before(self, call: Call, number: int) -> None:
        if number:
            with self._noted():
                self._fault.before(call, 1)

    def after(self, call: Call, number: int) -> None:
        if number:
            with self._noted():
                self._fault.after(call, 1)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._failed = self._now
            raise


@pytest.fixture(params=[First, Later], ids=["first", "later"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    with new_world(tmp_path, (NAME,), QUICK) as world:
        made: Deployment = request.param(world)
        yield made


def ends(deployment: Deployment) -> list[dict[str, Any]]:
    """Return where two undisturbed ones end, one after the other."""
    found = []
    for _ in range(2):
        deployment.begin()
        deployment.world.apply(deployment.wanted())
        found.append(deployment.ended())
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_call_the_next_apply_ends_in_the_same_state(deployment: Deployment, part: int) -> None:
    """What a killed process leaves is what its writes did, and so each write is one place to be killed at.

    Before a write is after the one before it: both sides of all of them are in it, and the end of the last.
    """
    expected = ends(deployment)
    for round_, k in enumerate(itertools.count(1 + part, PARTS)):
        if not deployment.killed(k):
            assert k > LEAST_WRITES
            return
        assert deployment.ended() == expected[round_ % 2], f"killed at write {k}"


@pytest.mark.parametrize("part", range(PARTS))
def test_whichever_answer_is_lost_the_same_apply_ends_in_the_same_state(
    deployment: Deployment, part: int
) -> None:
    """What took effect and is sent again must not end as an error, nor be there twice."""
    expected = ends(deployment)
    for round_, k in enumerate(itertools.count(1 + part, PARTS)):
        lost = Once(k, LostResponse(1), writes_only)
        deployment.disturbed(lost)
        if lost.seen < k:
            assert k > LEAST_WRITES
            return
        assert deployment.ended() == expected[round_ % 2], f"answer to write {k} lost"


@pytest.mark.parametrize(
    "fault",
    [Throttle(1), ServerError(1), ServerError(1, took_effect=True), LostResponse(1)],
    ids=["throttled", "failing", "failing, though it took effect", "unheard"],
)
def test_an_apply_ends_well_though_the_first_attempt_of_every_call_does_not(
    deployment: Deployment, fault: Fault
) -> None:
    expected = ends(deployment)
    always = Always(fault)
    deployment.disturbed(always)
    assert always.seen > 2 * LEAST_WRITES
    assert deployment.ended() == expected[0]


@pytest.mark.parametrize("fault", [CrashAt, LostResponse])
def test_whatever_happens_while_it_is_removed_removing_again_leaves_nothing(
    tmp_path: Path, fault: type[CrashAt | LostResponse]
) -> None:
    with new_world(tmp_path, (NAME,), QUICK) as world:
        for k in itertools.count(1):
            world.apply(world.wanted(state(NAME)))
            happens = fault(k, counts=writes_only)
            world.aws.strict.inject(happens)
            with contextlib.suppress(Killed):
                remove(world)
            world.aws.strict.inject()
            remove(world)
            assert world.observe().functions == {}
            assert world.aws.plain("s3").list_buckets()["Buckets"] == []
            if happens.seen < k:
                assert k > LEAST_WRITES
                return


def remove(world: World) -> None:
    provider = world.provider()
    provider.remove(NAME)
    provider.objects.destroy()
