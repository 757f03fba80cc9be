"""A Chromium to look at the page with: the system's, else Playwright's, else the distribution's.

    one that starts? ─no─▶ playwright install ─▶ one that starts? ─no─▶ apt-get install ─▶ …? ─no─▶ NoBrowser

A browser counts when it has started, not when there is a file of its name: some distributions have a stub
there, and one may lack a library. `python -m devstack.page.browser` sees to it that there is one, and says
what it does; `scripts/check` calls it before the tests, so that none of them waits for an installation.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as PlaywrightError

SYSTEM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DOWNLOAD = (sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
APT = ("apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2")
PACKAGE_TRIES = 2
"""The second is for whoever met another process that held the lists, or a list that had just changed."""
INSTALL_SECONDS = 300
LOCK = Path(__file__).parents[2] / "build" / "chromium.lock"
ADVICE = (
    "There is no Chromium that starts, and none could be installed. Install one (Debian: apt-get install "
    "chromium), or go on without the browser's tests: SLUICE_NO_BROWSER=1 make test"
)
Started = TypeVar("Started")


class NoBrowser(Exception):
    """There is no Chromium that starts, and none could be installed."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a browser is looked for and installed; a test gives one of its own."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    download: tuple[str, ...] = DOWNLOAD
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    lock: Path = LOCK
    tell: Callable[[str], None] = _say

    def which(self, name: str) -> str | None:
        return shutil.which(name, path=self.environment.get("PATH"))

    def run(self, *command: str) -> str:
        """Run a command to its end; returns why it failed, or nothing."""
        try:
            ended = subprocess.run(  # noqa: S603
                command,
                env={**self.environment, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except OSError as error:
            return str(error)
        except subprocess.TimeoutExpired:
            return f"not done after {INSTALL_SECONDS} s"
        return "" if ended.returncode == 0 else _reason(ended.stderr or ended.stdout)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for other processes of this checkout that install."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


@dataclass(slots=True)
class Finder(Generic[Started]):
    """Starts the first Chromium that can be; installs one if there is none.

    Args:
        launch: starts the one at a path, or Playwright's own for None; raises Playwright's error.
    """

    launch: Callable[[str | None], Started]
    machine: Machine
    _refusals: dict[str, str] = field(default_factory=dict)

    def find(self) -> Started:
        """Return a running browser.

        Raises:
            NoBrowser: there is none to be had; tells what was tried and why it failed.
        """
        if (started := self._start()) is not None:
            return started
        with self.machine.alone():
            # Whoever had the lock before may have installed one: look again first.
            for install in (None, self._download, self._install_package):
                if install:
                    install()
                if (started := self._start()) is not None:
                    return started
        tried = "".join(f"\n  {what}: {why}" for what, why in self._refusals.items())
        raise NoBrowser(ADVICE + tried)

    def _start(self) -> Started | None:
        paths = [path for name in SYSTEM_NAMES if (path := self.machine.which(name))]
        for path in (*paths, None):
            try:
                return self.launch(path)
            except PlaywrightError as error:
                self._refusals[path or "Playwright's own"] = _reason(error.message)
        return None

    def _download(self) -> None:
        self.machine.tell("Chromium: there is none that starts; Playwright downloads its own …")
        self._install("playwright install", *self.machine.download)

    def _install_package(self) -> None:
        if not self.machine.which("apt-get"):
            self._refusals["the distribution's package"] = "there is no apt-get here"
        elif not self.machine.is_root:
            self._refusals["the distribution's package"] = "only root may install it"
        else:
            self.machine.tell("Chromium: the distribution's package is installed (about 110 MB) …")
            for _ in range(PACKAGE_TRIES):
                self._install("apt-get update", *APT, "update")
                if self._install(
                    "apt-get install", *APT, "install", "--yes", "--no-install-recommends", "chromium"
                ):
                    return

    def _install(self, what: str, *command: str) -> bool:
        why = self.machine.run(*command)
        if why:
            self.machine.tell(f"Chromium: {what} failed: {why}")
            self._refusals[what] = why
        return not why


def _reason(output: str) -> str:
    """Return the line of a failed command's output that says most: the first error, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Error:"))]
    return (errors or lines[-1:] or ["it did not say why"])[0]


@contextmanager
def chromium(machine: Machine | None = None) -> Iterator[Browser]:
    """Run a headless Chromium.

    Raises:
        NoBrowser: there is none to be had.
    """
    with sync_playwright() as playwright:
        finder = Finder(lambda path: playwright.chromium.launch(executable_path=path), machine or Machine())
        browser = finder.find()
        try:
            yield browser
        finally:
            browser.close()


def main() -> int:
    """See to it that there is a Chromium; returns the exit status."""
    try:
        with chromium() as browser:
            _say(f"Chromium {browser.version}")
    except NoBrowser as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
