"""Fixtures of the bridge's tests: one bridge for a file, and tasks on an empty Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from devstack.valkey import EmbeddedValkey
from shared.state.store import Store
from tests.integration.bridge.kit import BridgeProcess, Browser, Work


@pytest.fixture(scope="module")
def bridge(valkey: EmbeddedValkey) -> Iterator[BridgeProcess]:
    with BridgeProcess(valkey.url) as process:
        yield process


@pytest.fixture
def browser(bridge: BridgeProcess, store: Store) -> Iterator[Browser]:
    """A client of the bridge, on an empty Redis."""
    client = Browser(bridge.url)
    yield client
    client.http.close()


@pytest.fixture
def start_bridge(valkey: EmbeddedValkey, store: Store) -> Iterator[Callable[..., Browser]]:
    """Start a bridge with variables of its own, and return a client of it."""
    with ExitStack() as stack:

        def start(**overrides: str) -> Browser:
            process = stack.enter_context(BridgeProcess(valkey.url, **overrides))
            client = Browser(process.url)
            stack.callback(client.http.close)
            return client

        yield start


@pytest.fixture
def make_work(store: Store) -> Iterator[Callable[..., Work]]:
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Work(store, *args, **options))


@pytest.fixture
def work(make_work: Callable[..., Work]) -> Work:
    return make_work()
