"""A count that moved is told by its place, what it was and what it is; nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.counts_kit import AtMost, differences


@pytest.mark.parametrize(
    ("golden", "counted", "told"),
    [
        ({"claim": {"billed": 8}}, {"claim": {"billed": 8}}, []),
        ({"claim": {"billed": 8}}, {"claim": {"billed": 9}}, ["  claim › billed: 8 -> 9 (+1)"]),
        ({"claim": {"billed": 8}}, {"claim": {"billed": 7}}, ["  claim › billed: 8 -> 7 (-1)"]),
        ({"a": 1}, {"b": 1}, ["  a: 1 -> none", "  b: none -> 1"]),
        ({"packages": ["flask"]}, {"packages": ["flask", "x"]}, ["  packages: gone [], new ['x']"]),
        ({"packages": ["flask", "x"]}, {"packages": ["flask"]}, ["  packages: gone ['x'], new []"]),
        ({"modules": 110}, {"modules": AtMost(100)}, []),
        ({"modules": 110}, {"modules": AtMost(110)}, []),
        ({"modules": 110}, {"modules": AtMost(111)}, ["  modules: at most 110 -> 111"]),
        ({}, {"modules": AtMost(5)}, ["  modules: at most none -> 5"]),
    ],
)
def test_each_count_that_moved_is_named_with_its_place(golden: Any, counted: Any, told: list[str]) -> None:
    assert list(differences(golden, counted)) == told


def test_a_ceiling_leaves_a_tenth_of_room() -> None:
    assert AtMost(500).ceiling == 550
