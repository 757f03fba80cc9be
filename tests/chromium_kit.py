"""A real Chromium for tests, headless; without one they fail, unless SLUICE_NO_BROWSER says to do without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser

from devstack.page import browser


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser, and end it."""
    if os.environ.get("SLUICE_NO_BROWSER") == "1":
        pytest.skip("SLUICE_NO_BROWSER=1: nothing is tested in a browser")
    try:
        with browser.chromium() as running:
            yield running
    except browser.NoBrowser as error:
        pytest.fail(str(error))
