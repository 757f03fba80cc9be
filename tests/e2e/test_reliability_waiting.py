"""Overload: nothing is lost because it waited, and a refusal's `Retry-After` is worth keeping to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.reliability.tally import Tally
from devstack.reliability.trials import SHORT
from devstack.reliability.waiting import SECTION, budget_used_up, crowd, slots_taken
from devstack.stack import Stack


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, **SECTION.stack) as running:
        yield running


@pytest.fixture
def tally() -> Iterator[Tally]:
    """What the trial counted; it must be clean."""
    counted = Tally()
    yield counted
    counted.assert_clean()


def test_d12_a_crowd_that_comes_back_when_told_gets_in_at_the_next_try(stack: Stack, tally: Tally) -> None:
    """D12, D26: nine in ten of those refused, ten times the load; in order, and no dead letter."""
    crowd(stack, tally, SHORT)
    assert tally.faults > 0


def test_d12_slots_taken_for_longer_than_all_retries_lose_nothing(stack: Stack, tally: Tally) -> None:
    """D12: the message is sent anew each time, no attempt is used up, the dead-letter queue stays empty."""
    slots_taken(stack, tally, SHORT)


def test_d12_a_task_over_its_waiting_budget_ends_refunded(stack: Stack, tally: Tally) -> None:
    """D12, D15."""
    budget_used_up(stack, tally, SHORT)
