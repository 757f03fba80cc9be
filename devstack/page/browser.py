"""A Chromium to look at the page with: the system's, else Playwright's, else the distribution's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

SYSTEM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL_SECONDS = 300
ADVICE = (
    "There is no Chromium, and none could be installed. Install one (Debian: apt-get install chromium), or "
    "go on without the browser's tests: SLUICE_NO_BROWSER=1 make test"
)


class NoBrowser(Exception):
    """There is no Chromium, and none could be installed."""


def find_chromium(playwright: Playwright) -> str:
    """Return the path of a Chromium; installs one if it must.

    Raises:
        NoBrowser: there is none to be had.
    """
    return (
        _of_the_system()
        or _of_playwright(playwright)
        or (_ran(sys.executable, "-m", "playwright", "install", "chromium") and _of_playwright(playwright))
        or (_installed_package() and _of_the_system())
        or _give_up()
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a headless Chromium.

    Raises:
        NoBrowser: there is none to be had.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright))
        try:
            yield browser
        finally:
            browser.close()


def _of_the_system() -> str | None:
    return next((path for name in SYSTEM_NAMES if (path := shutil.which(name))), None)


def _of_playwright(playwright: Playwright) -> str | None:
    path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def _installed_package() -> bool:
    """Install the distribution's package, where there is one and we may."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    return _ran("apt-get", "update") and _ran("apt-get", "install", "--yes", "chromium")


def _ran(*command: str) -> bool:
    try:
        ended = subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


def _give_up() -> str:
    raise NoBrowser(ADVICE)
