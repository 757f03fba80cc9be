"""A soak's schedule: drawn from its seed alone, before anything runs."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from devstack.soak.drawing import draw_plan
from devstack.soak.faultdeck import QUIET_SECONDS
from devstack.soak.plan import ActKind, FaultKind, Plan

FIVE_MINUTES = 300.0


@pytest.fixture(scope="module")
def plan() -> Plan:
    return draw_plan(11, FIVE_MINUTES)


def test_a_seed_gives_the_same_schedule_again_and_another_seed_another_one(plan: Plan) -> None:
    assert draw_plan(11, FIVE_MINUTES) == plan
    assert draw_plan(11, FIVE_MINUTES).digest == plan.digest
    assert draw_plan(12, FIVE_MINUTES).digest != plan.digest


def test_everything_has_its_time_within_the_traffic_and_in_order(plan: Plan) -> None:
    for times in ([act.at_seconds for act in plan.acts], [fault.at_seconds for fault in plan.faults]):
        assert times == sorted(times)
        assert times[0] >= 0
    assert plan.faults[-1].at_seconds <= FIVE_MINUTES - QUIET_SECONDS
    assert max(act.at_seconds for act in plan.acts) <= FIVE_MINUTES + 1


def test_five_minutes_do_and_break_everything_there_is_to_do_and_to_break(plan: Plan) -> None:
    assert {act.kind for act in plan.acts} == set(ActKind)
    assert {fault.kind for fault in plan.faults} == set(FaultKind)


def test_users_come_with_a_resume_and_act_one_thing_after_the_other(plan: Plan) -> None:
    for user in range(plan.users):
        acts = [act for act in plan.acts if act.user == user]
        assert acts[0].kind is ActKind.RESUME
        assert all(later.at_seconds > earlier.at_seconds for earlier, later in itertools.pairwise(acts))


def test_keys_are_rotated_once_at_most_because_functions_know_two_of_them() -> None:
    """A second rotation without a deploy would be a mistake of the operator's, not a fault."""
    for seed in range(20):
        kinds = Counter(fault.kind for fault in draw_plan(seed, FIVE_MINUTES).faults)
        assert kinds[FaultKind.KEY_ROTATION] <= 1


def test_a_user_who_leaves_comes_back_with_a_resume(plan: Plan) -> None:
    for user in {act.user for act in plan.acts if act.kind is ActKind.DELETE}:
        kinds = [act.kind for act in plan.acts if act.user == user]
        assert kinds[kinds.index(ActKind.DELETE) + 1 :][:1] in ([ActKind.RESUME], [])
