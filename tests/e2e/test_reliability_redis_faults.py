"""Redis failing under the real processes: every task still ends once, its text whole, its price paid once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.reliability.redis_faults import SECTION
from devstack.reliability.tally import Tally
from devstack.reliability.trials import SHORT
from devstack.stack import Stack


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, **SECTION.stack) as running:
        yield running


def try_(stack: Stack, number: int) -> None:
    tally = Tally()
    SECTION.trials[number].run(stack, tally, SHORT)
    tally.assert_clean()


def test_d16_a_transition_that_never_arrives_changes_no_outcome(stack: Stack) -> None:
    """D6, D15, D16, D20, D21: nor does an event; a claim, an end, a cancel, an admission, a hand-over."""
    try_(stack, 0)


def test_d16_a_transition_whose_reply_is_lost_has_the_effect_of_once(stack: Stack) -> None:
    """D6, D15, D16, D20, D21."""
    try_(stack, 1)


def test_d15_a_transition_that_arrives_late_has_the_effect_of_once(stack: Stack) -> None:
    """D5, D15, D16: what the network held back comes while others run, and after the end."""
    try_(stack, 2)


def test_d29_every_connection_cut_again_and_again_in_mid_stream_is_not_noticed(stack: Stack) -> None:
    """D29, D32."""
    try_(stack, 3)


def test_d30_a_slow_and_a_stalled_network_hold_up_no_model_and_lose_no_text(stack: Stack) -> None:
    """D29, D30."""
    try_(stack, 4)


def test_d9_redis_gone_for_longer_than_the_lease_ends_the_attempt_and_another_completes_the_task(
    stack: Stack,
) -> None:
    """D9, D16, D18: its provider call is closed, the reader gets the new attempt from its start."""
    try_(stack, 5)


def test_d29_a_durable_redis_started_again_and_flushed_scripts_are_not_noticed(stack: Stack) -> None:
    """D9, D29: the scripts are gone, the data are not."""
    try_(stack, 6)


def test_d9_a_failover_under_running_tasks_is_not_noticed(stack: Stack) -> None:
    """D9, D29: the successor was never told a script."""
    try_(stack, 7)


def test_d32_an_emptied_redis_ends_its_readers_and_serves_whoever_comes_next(stack: Stack) -> None:
    """D32: what is gone is not found, nobody waits for it, and nothing of it comes back."""
    try_(stack, 8)


def test_d9_a_redis_that_cannot_work_refuses_new_tasks_with_a_time_and_loses_no_running_one(
    stack: Stack,
) -> None:
    """D9, D19, D20: read only, loading, or without memory."""
    try_(stack, 9)
