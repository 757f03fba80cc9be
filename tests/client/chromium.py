"""A real Chromium for tests, headless: the system's, else Playwright's, else the distribution's package."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL_SECONDS = 80
ADVICE = (
    "The browser tests need a Chromium: none is installed, and neither Playwright nor apt could install one. "
    "Install one, or go on without these tests: SLUICE_NO_BROWSER=1 make test"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser, and end it; skips if told to by SLUICE_NO_BROWSER, fails without a browser."""
    if os.environ.get("SLUICE_NO_BROWSER") == "1":
        pytest.skip("SLUICE_NO_BROWSER=1: nothing is tested in a browser")
    if importlib.util.find_spec("playwright") is None:
        pytest.fail("Playwright is not installed: run make setup")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no sandbox; what runs in it are the project's own pages.
        browser = playwright.chromium.launch(
            executable_path=find_chromium(playwright.chromium.executable_path), args=["--no-sandbox"]
        )
        try:
            yield browser
        finally:
            browser.close()


def find_chromium(playwrights_own: str) -> str:
    """Return a browser's path, after installing one if there is none; fails if that does not help."""
    installers: tuple[tuple[str, ...], ...] = ((sys.executable, "-m", "playwright", "install", "chromium"),)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        installers += (("apt-get", "install", "-y", "chromium"),)
    for installer in ((), *installers):
        if installer and shutil.which(installer[0]):
            subprocess.run(installer, capture_output=True, timeout=INSTALL_SECONDS, check=False)
        if found := _installed(playwrights_own):
            return found
    pytest.fail(ADVICE)


def _installed(playwrights_own: str) -> str | None:
    found = (shutil.which(name) for name in (*NAMES, playwrights_own))
    return next((path for path in found if path), None)
