"""QStash duplicates, forgets, delays and reorders, and every task still runs once, for one debit, to one end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.reliability.broker import SECTION
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
    assert tally.faults > 0


def test_d16_a_message_delivered_twice_runs_once(stack: Stack) -> None:
    """D16: the second copy comes when the first has been answered."""
    prove(stack, 0)


def test_d16_a_message_delivered_twice_at_once_runs_once(stack: Stack) -> None:
    """D16: one copy claims the task, the other is told to come back, and finds it done."""
    prove(stack, 1)


def test_d16_a_task_whose_answers_were_all_lost_ran_once(stack: Stack) -> None:
    """D16, D15: QStash gives up on messages that were done, and no task is ended or refunded for it."""
    prove(stack, 2)


def test_d16_d15_messages_that_come_after_the_end_change_nothing(stack: Stack) -> None:
    """D16, D15: neither record nor events nor ledger, whether the task was done, failed or cancelled."""
    prove(stack, 3)


def test_d17_a_callback_that_comes_twice_publishes_once(stack: Stack) -> None:
    """D17, D12: the next step, and the message that follows one that QStash gave up on."""
    prove(stack, 4)


def test_d17_a_callback_that_comes_late_publishes_nothing(stack: Stack) -> None:
    """D17, D15: the next step or message runs already, or the task was cancelled."""
    prove(stack, 5)


def test_d17_callbacks_that_come_in_the_wrong_order_publish_the_next_step_once(stack: Stack) -> None:
    """D17, D14: a step that is done is not ended by the failure of its message."""
    prove(stack, 6)


def test_keys_rotated_in_mid_flight_refuse_nothing(stack: Stack) -> None:
    """A rotation meets messages that wait or run and callbacks that are pending: none is answered 401."""
    prove(stack, 7)


def test_d20_a_refused_publish_that_arrives_after_all_does_nothing(stack: Stack) -> None:
    """D20, D6: the user was told, everything was given back, and the message finds an ended task."""
    prove(stack, 8)


def test_d20_a_publish_of_unknown_outcome_is_sent_again_and_runs_once(stack: Stack) -> None:
    """D20, D16: the repeat carries the id of the first."""
    prove(stack, 9)


def test_d21_a_request_repeated_while_the_first_hangs_is_the_same_task(stack: Stack) -> None:
    """D21, D16: whichever of them publishes, QStash takes one message, and it runs once."""
    prove(stack, 10)
