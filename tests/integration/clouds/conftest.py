from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from devstack.clouds.aws import Emulated, open_emulated, shut_down


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """One emulated AWS for all tests of this process; each uses names of its own."""
    folder = tmp_path_factory.mktemp("aws")
    yield open_emulated(folder)
    shut_down(folder)


@pytest.fixture
def http(emulated: Emulated) -> Iterator[httpx.Client]:
    with httpx.Client(transport=emulated.transport(), timeout=60) as client:
        yield client
