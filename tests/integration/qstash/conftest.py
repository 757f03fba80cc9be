"""The QStash stand-in, a real destination, and QStash's official SDK between them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from qstash import QStash

from devstack.qstash import QStashStandIn
from devstack.qstash.recorder import Recorder

TIME_SCALE = 0.01


@pytest.fixture
def stand_in() -> Iterator[QStashStandIn]:
    with QStashStandIn(time_scale=TIME_SCALE) as qstash:
        yield qstash


@pytest.fixture
def destination() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def sdk(stand_in: QStashStandIn) -> Iterator[QStash]:
    """The official client. It has no way to be closed, so its HTTP client is."""
    client = QStash(stand_in.token, base_url=stand_in.url, retry=False)
    yield client
    client.http._client.close()


@pytest.fixture
def http(stand_in: QStashStandIn) -> Iterator[httpx.Client]:
    """QStash over plain HTTP, for what the SDK has no call for."""
    headers = {"Authorization": f"Bearer {stand_in.token}"}
    with httpx.Client(base_url=stand_in.url, headers=headers, timeout=10) as client:
        yield client
