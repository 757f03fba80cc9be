"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test's own."""
    return f"user-{request.node.name}"


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where a module's stack stages its bundles: two workers must not share one."""
    return tmp_path_factory.mktemp("build")
