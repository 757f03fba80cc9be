"""Fixtures of the tests over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.http.kit import World


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> Iterator[World]:
    """`actions` and the lanes on an empty Redis; `world.change(…)` before their first use changes their limits."""
    with World(redis_url, tmp_path) as made:
        yield made
