"""Fixtures of the integration tests: Redis over both of its ways in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.upstash.server import UpstashStandIn
from shared.state.store import RestStore, Store, TcpStore

REST_TOKEN = "rest-token-of-the-tests"


@pytest.fixture
def upstash(redis_url: str) -> Iterator[UpstashStandIn]:
    """Upstash's REST in front of an empty Redis."""
    with UpstashStandIn(redis_url, token=REST_TOKEN) as stand_in:
        yield stand_in


@pytest.fixture
def rest_store(upstash: UpstashStandIn) -> Iterator[RestStore]:
    opened = RestStore(upstash.url, upstash.token)
    yield opened
    opened.close()


@pytest.fixture(params=["tcp", "rest"])
def each_store(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Store]:
    """Either store on an empty Redis: what is promised of one is promised of both."""
    if request.param == "rest":
        yield request.getfixturevalue("rest_store")
        return
    opened = TcpStore(redis_url)
    yield opened
    opened.close()
