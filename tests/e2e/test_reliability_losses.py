"""What nobody carries any more still ends: a reader sees `stalled`, and each touch alone ends or publishes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.reliability.losses import SECTION
from devstack.reliability.tally import Tally
from devstack.reliability.trials import SHORT
from devstack.stack import Stack


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, sleeping=("free_stream", "free_batch"), **SECTION.stack) as running:
        yield running


def prove(stack: Stack, number: int) -> None:
    tally = Tally()
    SECTION.trials[number].run(stack, tally, SHORT)
    tally.assert_clean()


def test_d32_a_message_that_qstash_lost_ends_its_task_at_the_next_touch(stack: Stack) -> None:
    """D32, D17: a status call, an admission of the same user, the scheduled sweep: each ends it, refunded."""
    prove(stack, 0)


def test_d12_a_purged_dead_letter_queue_ends_its_tasks_at_the_next_touch(stack: Stack) -> None:
    """D12, D6: the failure callback was lost too, so that only the deadline knows."""
    prove(stack, 1)


def test_d17_a_step_callback_that_never_came_is_made_up_for_by_the_next_touch(stack: Stack) -> None:
    """D17: the next step is published, and the task is done."""
    prove(stack, 2)


def test_d20_actions_killed_between_debit_and_publish_leaves_tasks_that_end(stack: Stack) -> None:
    """D20, D21: the next touch refunds them; a repeated request under its key publishes its task."""
    prove(stack, 3)


def test_d20_actions_killed_between_publish_and_confirmation_leaves_tasks_that_end(stack: Stack) -> None:
    """D20, D16: a message that comes in time is done, one that comes too late does nothing."""
    prove(stack, 4)
