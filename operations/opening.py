"""A command's way to Redis: the settings of the environment, and a store that is closed in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.config import ReconciliationSettings, load_reconciliation
from shared.state.store import Store, open_store


@contextmanager
def opened() -> Iterator[tuple[Store, ReconciliationSettings]]:
    """Give the store and the settings that the functions run with.

    Raises:
        ConfigError: a variable is missing or malformed.
    """
    settings = load_reconciliation()
    store = open_store(settings.redis)
    try:
        yield store, settings
    finally:
        store.close()
