"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test's own."""
    return f"user-{request.node.name}"
