"""Deploying to Google Cloud through whatever can happen at each single call: the end is the same.

Two deployments are made again and again, a first one and a later one, and each time something else happens to
them. After each, all there is has to be what it is after an undisturbed one, and the next plan empty.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployment.ledger import past_of, releases
from deployment.planner import Desired, make_plan
from devstack.clouds.gcp.api.requests import ApiError
from devstack.clouds.gcp.faults import (
    CrashAt,
    Fails,
    Fault,
    Unanswered,
    failing,
    throttled,
    writes_only,
)
from devstack.clouds.recorder import Recorded
from tests.unit.deployment.gcp_kit import Site, World, new_site, state
from tests.unit.deployment.memory_kit import Killed

NAME = "free_stream"
NAMES = (NAME,)
PARTS = 2
"""Each sweep goes in so many parts, so that they run side by side; together they are all writes."""
LEAST_WRITES = 8
"""A sweep of fewer would not have been one."""
LEAST_RUN_WRITES = 3
LAPSED_SECONDS = 1000
"""Until the lock of somebody who was killed has lapsed."""

pytestmark = pytest.mark.timeout(300)  # each is dozens of deployments


@dataclass
class Deployment:
    """One deployment, made again and again, each time from the same beginning."""

    site: Site
    folder: Path

    def begin(self) -> World:
        """Return the world in which the deployment begins."""
        raise NotImplementedError

    def wanted(self, world: World) -> Desired:
        """Return what is deployed."""
        raise NotImplementedError

    def undisturbed(self) -> dict[str, Any]:
        """Return where it ends when nothing happens to it."""
        world = self.begin()
        world.apply(self.wanted(world))
        return self.ended(world)

    def killed(self, crash: CrashAt) -> World:
        """Be killed at a call, and deploy again as another process."""
        world = self.begin()
        world.inject(crash)
        with contextlib.suppress(Killed):
            world.apply(self.wanted(world))
        world.inject()
        world.later_seconds = LAPSED_SECONDS
        world.apply(self.wanted(world))
        return world

    def disturbed(self, fault: Fault) -> World:
        """Deploy while a fault happens."""
        world = self.begin()
        world.inject(fault)
        world.apply(self.wanted(world))
        world.inject()
        return world

    def ended(self, world: World) -> dict[str, Any]:
        """Return where it ended, once nothing is left to do."""
        wanted, observed = self.wanted(world), world.observe()
        past = past_of(releases(world.provider().objects), wanted.keep)
        assert make_plan(wanted, observed, past).empty
        return world.content(observed)


class First(Deployment):
    """Everything is made, from nothing."""

    def begin(self) -> World:
        return self.site.world(self.folder, NAMES)

    def wanted(self, world: World) -> Desired:
        return world.wanted(state(NAME))


class Later(Deployment):
    """Code and settings change, a hand-made change is undone, the revision of before and its package go."""

    def begin(self) -> World:
        world = self.site.world(self.folder, NAMES, released=True)
        service = world.cloud.run.services["sluice-staging-free-stream"].document
        service["invokerIamDisabled"] = False
        service["scaling"] = {"scalingMode": "AUTOMATIC", "maxInstanceCount": 99}
        return world

    def wanted(self, world: World) -> Desired:
        return world.wanted(state(NAME, "b", timeout_seconds=20), keep=1)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site() as site:
        yield site


@pytest.fixture(params=[First, Later], ids=["first", "later"])
def deployment(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Deployment:
    made: Deployment = request.param(site, tmp_path)
    return made


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_call_the_next_apply_ends_in_the_same_state(deployment: Deployment, part: int) -> None:
    """What a killed process leaves is what its writes did, and so each write is one place to be killed at.

    Before a write is after the one before it: both sides of all of them are in it, and the end of the last.
    """
    expected = deployment.undisturbed()
    for k in itertools.count(1 + part, PARTS):
        crash = CrashAt(k, counts=writes_only)
        assert deployment.ended(deployment.killed(crash)) == expected, f"killed at write {k}"
        if not crash.happened:
            assert k > LEAST_WRITES
            return


def test_killed_while_cloud_run_takes_a_change_in_the_next_apply_ends_in_the_same_state(
    deployment: Deployment,
) -> None:
    """Such a write has taken effect, and its operation goes on while nobody looks."""
    expected = deployment.undisturbed()
    for k in itertools.count(1):
        crash = CrashAt(k, took_effect=True, counts=run_writes)
        assert deployment.ended(deployment.killed(crash)) == expected, f"killed after write {k}"
        if not crash.happened:
            assert k > LEAST_RUN_WRITES
            return


@pytest.mark.parametrize("part", range(PARTS))
def test_whichever_answer_is_lost_the_same_apply_ends_in_the_same_state(
    deployment: Deployment, part: int
) -> None:
    """What took effect and is sent again must not end as an error, nor be there twice."""
    expected = deployment.undisturbed()
    for k in itertools.count(1 + part, PARTS):
        lost = Fails(lambda number, k=k: number == k, Unanswered(), took_effect=True, counts=writes_only)  # type: ignore[misc]
        assert deployment.ended(deployment.disturbed(lost)) == expected, f"answer to write {k} lost"
        if lost.seen < k:
            assert k > LEAST_WRITES
            return


@pytest.mark.parametrize(
    ("error", "took_effect"),
    [(throttled, False), (failing, False), (failing, True), (Unanswered, False), (Unanswered, True)],
    ids=["throttled", "failing", "failing, though it took effect", "cut off", "unheard"],
)
def test_an_apply_ends_well_though_the_first_attempt_of_every_call_does_not(
    deployment: Deployment, error: Callable[[], ApiError | Unanswered], *, took_effect: bool
) -> None:
    expected = deployment.undisturbed()
    # The first attempt of each call is an odd one, since every second attempt goes well.
    always = Fails(lambda number: number % 2 == 1, error(), took_effect=took_effect)
    assert deployment.ended(deployment.disturbed(always)) == expected
    assert always.seen > 2 * LEAST_WRITES


@pytest.mark.parametrize("kind", [CrashAt, "lost"], ids=["killed", "unheard"])
def test_whatever_happens_while_it_is_removed_removing_again_leaves_nothing(
    site: Site, tmp_path: Path, kind: object
) -> None:
    for k in itertools.count(1):
        world = site.world(tmp_path, NAMES, released=True)
        happens = (
            CrashAt(k, counts=writes_only)
            if kind is CrashAt
            else Fails(lambda number, k=k: number == k, Unanswered(), took_effect=True, counts=writes_only)  # type: ignore[misc]
        )
        world.inject(happens)
        with contextlib.suppress(Killed):
            remove(world)
        world.inject()
        remove(world)
        assert world.observe().functions == {}
        assert list(world.cloud.storage.buckets) == ["sluice-images"]
        assert all(not policy["bindings"] for policy in world.cloud.world.policies.values())
        if happens.seen < k:
            assert k > LEAST_WRITES
            return


def run_writes(call: Recorded) -> bool:
    return call.is_write and call.service == "run"


def remove(world: World) -> None:
    provider = world.provider()
    provider.remove(NAME)
    provider.objects.destroy()
