"""Looking at many functions at once: a look at one of them is a handful of calls that wait for a cloud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


def of_each(names: Sequence[str], look: Callable[[str], R], at_once: int) -> dict[str, R]:
    """Look at each, `at_once` of them at the same time, and return what was found by name."""
    if at_once == 1:
        return {name: look(name) for name in names}
    with ThreadPoolExecutor(at_once, thread_name_prefix="observe") as pool:
        return dict(zip(names, pool.map(look, names), strict=True))
