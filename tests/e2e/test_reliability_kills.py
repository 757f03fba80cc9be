"""Every process may be killed or frozen at every moment: the trials of `make reliability`, one round of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.reliability import kills, outages, pauses
from devstack.reliability.tally import Tally
from devstack.reliability.trials import SHORT
from devstack.stack import Stack

pytestmark = pytest.mark.timeout(240)  # a point that a busy machine missed takes another wave


@pytest.fixture(scope="module")
def stack(build_folder: Path) -> Iterator[Stack]:
    sleeping = ("free_stream", "free_batch")
    with Stack(build_folder=build_folder, sleeping=sleeping, **kills.SECTION.stack) as running:
        yield running


@pytest.fixture
def tally() -> Iterator[Tally]:
    """A tally that must be clean when the test ends."""
    counted = Tally()
    yield counted
    assert counted.faults > 0
    counted.assert_clean()


def test_d2_d16_d29_a_lane_killed_before_or_after_any_write_loses_and_doubles_nothing(
    stack: Stack, tally: Tally
) -> None:
    """D2, D5, D15, D16, D29, D34: exact text for readers from the start, late, and from every event; one debit."""
    kills.streamed(stack, tally, SHORT)


def test_d17_a_lane_killed_at_either_step_of_a_picture_runs_each_step_to_one_end(
    stack: Stack, tally: Tally
) -> None:
    """D16, D17: before and after each write of both steps, and while the model reads the picture."""
    kills.pictures(stack, tally, SHORT)


def test_d14_a_task_whose_every_attempt_was_killed_ends_refunded(stack: Stack, tally: Tally) -> None:
    """D14, D15: `attempts_exhausted`, and its reader is told."""
    kills.every_attempt(stack, tally, SHORT)


def test_d34_readers_of_a_killed_bridge_go_on_where_they_were(stack: Stack, tally: Tally) -> None:
    """D32, D34."""
    outages.bridge(stack, tally, SHORT)


def test_d17_actions_killed_between_two_steps_publishes_the_second_once(stack: Stack, tally: Tally) -> None:
    """D17: a hand-over that failed half-way is finished when the callback comes again."""
    outages.hand_over(stack, tally, SHORT)


def test_d5_a_worker_that_wakes_up_late_writes_nothing_and_gives_back_nobody_elses_slot(
    stack: Stack, tally: Tally
) -> None:
    """D2, D5, D29: its call to the provider is closed at its first refused batch, its successors' slots stay."""
    pauses.while_replaced(stack, tally, SHORT)


def test_d5_d15_a_worker_that_wakes_up_after_the_end_changes_nothing(stack: Stack, tally: Tally) -> None:
    """D5, D15, D16: no second result, no refund, no event."""
    pauses.after_the_end(stack, tally, SHORT)


def test_d17_a_worker_of_either_step_of_a_picture_that_wakes_up_late_changes_nothing(
    stack: Stack, tally: Tally
) -> None:
    """D5, D17."""
    pauses.pictures(stack, tally, SHORT)
