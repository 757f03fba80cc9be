"""The order in which workers take tests: who boots a stack early, apart from the others, and whole.

A run is as long as its slowest worker. Tests are handed out by number, each worker a stretch of the list, and
whoever has none left takes half of what another has left, from its end. A module whose stack takes as long as
hundreds of small tests must not stand at an end, where the others wait for it, nor be cut in two, where its stack
boots twice. Nor should they all run at once, first of all: stacks often wait, and small tests use that time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from typing import TypeVar

Item = TypeVar("Item")
EARLY_SHARE = 0.6
"""The part of a worker's stretch within which its stacks are all begun."""


def spread(items: Sequence[Item], workers: int, group_of: Callable[[Item], Hashable | None]) -> list[Item]:
    """Return `items` in the order for so many workers; within a group, and of what is in none, it stays as it is.

    Args:
        items: in any order, such as a random one; groups are dealt out in the order of their first items.
        workers: how many take an equal stretch each.
        group_of: names the group that an item shares a stack with, None for one that needs none.
    """
    groups, small = defaultdict[Hashable, list[Item]](list), list[Item]()
    for item in items:
        group = group_of(item)
        (small if group is None else groups[group]).append(item)
    dealt = [list(groups.values())[worker::workers] for worker in range(workers)]
    ordered = list[Item]()
    for length, stacks in zip(_stretches(len(items), workers), dealt, strict=True):
        room = max(0, length - sum(map(len, stacks)))
        ordered += _mixed(stacks, small[:room])
        del small[:room]
    return ordered + small


def _stretches(count: int, workers: int) -> list[int]:
    """Return how many each worker is given, as pytest-xdist shares out: what is left by those that are left."""
    lengths = list[int]()
    for left in range(workers, 0, -1):
        lengths.append((count - sum(lengths)) // left)
    return lengths


def _mixed(stacks: Sequence[list[Item]], small: Sequence[Item]) -> list[Item]:
    """Return groups with gaps of small items between them, and all other small items after them."""
    gap = int(len(small) * EARLY_SHARE) // len(stacks) if stacks else 0
    begun = chain.from_iterable(
        (*stack, *small[at * gap : (at + 1) * gap]) for at, stack in enumerate(stacks)
    )
    return [*begun, *small[len(stacks) * gap :]]
