"""Every worker may be killed or frozen at every moment: the trials of `make reliability`, once each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.reliability import kills
from devstack.reliability.tally import Tally
from devstack.reliability.trials import SHORT
from devstack.stack import Stack


@pytest.fixture(scope="module")
def stack(build_folder: Path) -> Iterator[Stack]:
    with Stack(build_folder=build_folder, **kills.SECTION.stack) as running:
        yield running


@pytest.fixture
def tally() -> Iterator[Tally]:
    """A tally that must be clean when the test ends."""
    counted = Tally()
    yield counted
    counted.assert_clean()


def test_d2_d16_d29_a_lane_killed_before_or_after_any_write_loses_and_doubles_no_text(
    stack: Stack, tally: Tally
) -> None:
    """D2, D16, D29."""
    kills.SECTION.trials[0].run(stack, tally, SHORT)
