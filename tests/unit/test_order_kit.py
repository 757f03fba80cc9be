"""Tests that boot a stack are dealt out to all workers, early, each group whole; nothing is lost or doubled."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.order_kit import spread

Numbered = tuple[str, int]


def group_of(test: Numbered) -> str | None:
    return test[0] or None


def grouped(**sizes: int) -> list[Numbered]:
    """Return as many tests of each group; `small` are in none."""
    return [("" if name == "small" else name, at) for name, size in sizes.items() for at in range(size)]


def stretches(ordered: list[Numbered], workers: int) -> list[list[Numbered]]:
    """Deal tests out as pytest-xdist does at the beginning of a run."""
    left, given_out = list(ordered), []
    for others in range(workers, 0, -1):
        count = len(left) // others
        given_out.append(left[:count])
        del left[:count]
    return given_out


def groups_in(stretch: list[Numbered]) -> set[str]:
    return {name for name, _ in stretch if name}


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_each_worker_has_its_share_of_the_stacks_each_of_them_whole(workers: int) -> None:
    tests = grouped(small=300, a=9, b=2, c=7, d=1, e=12, f=3)
    shares = stretches(spread(tests, workers, group_of), workers)
    assert [len(groups_in(share)) for share in shares] == [
        len("abcdef"[worker::workers]) for worker in range(workers)
    ]
    for share in shares:
        runs = [name for name, _ in groupby(share, key=lambda test: test[0]) if name]
        assert len(runs) == len(set(runs))


def test_every_worker_ends_with_small_tests_and_stacks_have_small_ones_between_them() -> None:
    tests = grouped(a=5, b=5, c=5, d=5, small=100)
    for share in stretches(spread(tests, 2, group_of), 2):
        assert not groups_in(share[-20:])
        assert [bool(name) for name, _ in groupby(share, key=lambda test: test[0])] == [True, False] * 2


@given(names=st.lists(st.sampled_from(["", "", "", "a", "b", "c"]), max_size=60), workers=st.integers(1, 5))
def test_nothing_is_lost_or_doubled_and_a_groups_own_order_stays(names: list[str], workers: int) -> None:
    """Also when only tests with a stack are chosen, more of them than small ones."""
    tests = [(name, at) for at, name in enumerate(names)]
    ordered = spread(tests, workers, group_of)
    assert sorted(ordered) == sorted(tests)
    for name in set(names):
        assert [test for test in ordered if test[0] == name] == [test for test in tests if test[0] == name]
