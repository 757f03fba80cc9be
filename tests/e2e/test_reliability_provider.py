"""The provider fails in every way there is: no task is lost, doubled or paid for in vain, and nothing is mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from devstack.reliability.provider import SECTION
from devstack.reliability.tally import Tally
from devstack.reliability.trials import SHORT
from devstack.stack import Stack


@pytest.fixture(scope="module")
def stack(build_folder: Any) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, **SECTION.stack) as running:
        yield running


def try_(stack: Stack, number: int) -> Tally:
    tally = Tally()
    SECTION.trials[number].run(stack, tally, SHORT)
    tally.assert_clean()
    return tally


def test_d37_a_limited_provider_is_asked_again_when_it_said_and_when_it_said_nothing_sensible(
    stack: Stack,
) -> None:
    """D13, D37: the reader hears the same delay that QStash keeps."""
    try_(stack, 0)


def test_d18_a_failing_provider_is_asked_again_when_it_said(stack: Stack) -> None:
    """D13, D18, D37."""
    try_(stack, 1)


def test_d18_a_provider_that_cannot_be_reached_is_asked_again(stack: Stack) -> None:
    """D13, D18."""
    try_(stack, 2)


def test_d18_a_silent_provider_is_given_up_by_the_idle_limit_and_asked_again(stack: Stack) -> None:
    """D18: long before the run limit, and the reader's text is the second attempt's alone."""
    try_(stack, 3)


def test_d18_a_broken_stream_is_no_answer_and_its_text_does_not_mix_with_the_next(stack: Stack) -> None:
    """D18, D29."""
    try_(stack, 4)


def test_d18_an_endless_answer_ends_at_its_cap(stack: Stack) -> None:
    """D18: an object or a loop without an end is refused; a text is what was said up to the cap."""
    try_(stack, 5)


def test_d18_what_no_attempt_can_mend_ends_the_task_at_the_first_refunded(stack: Stack) -> None:
    """D15, D18."""
    try_(stack, 6)


def test_d14_a_fault_that_lasts_ends_the_task_at_its_last_attempt_refunded_once(stack: Stack) -> None:
    """D14, D15, D18."""
    try_(stack, 7)


def test_d15_a_cancel_closes_the_call_at_every_moment_of_it_and_refunds_once(stack: Stack) -> None:
    """D6, D15: unanswered, thinking, silent or talking; the slot comes back."""
    tally = try_(stack, 8)
    assert len(tally.cancel_ms) == tally.runs
