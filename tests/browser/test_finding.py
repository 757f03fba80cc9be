"""How a Chromium is come by: what is tried, in which order, and what is said when there is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from playwright.sync_api import Error as PlaywrightError

from devstack.page.browser import Finder, Machine, NoBrowser

ROOT = Path(__file__).parents[2]


class Ground:
    """A machine of a test's own: its commands are scripts in one folder, which note that they were called."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.own = folder / "playwright's"
        self.called = folder / "called"
        self.said: list[str] = []
        self.before_look: Callable[[], object] = int
        self._lock = folder / "lock"
        self.bin.mkdir()
        self.called.touch()
        self.command("download", "echo 'Error: no such host' >&2; exit 1")

    def command(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.called}"\n{script}\n')
        path.chmod(0o755)

    def putting(self, path: Path) -> str:
        """Return the script by which a command installs a browser that starts."""
        return f'printf "#!/bin/sh\\n" > "{path}"; /bin/chmod +x "{path}"'

    def calls(self) -> list[str]:
        return self.called.read_text().splitlines()

    def find(self, *, is_root: bool = True) -> str:
        machine = Machine(
            environment={"PATH": str(self.bin)},
            download=("download",),
            is_root=is_root,
            lock=self._lock,
            tell=self.said.append,
        )
        return Finder(self._launch, machine).find()

    def _launch(self, path: str | None) -> str:
        self.before_look()
        if not Path(path or self.own).exists() or "stub" in Path(path or self.own).read_text():
            raise PlaywrightError("it does not start")
        return Path(path).name if path else "playwright"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def test_the_system_s_browser_is_taken_and_nothing_installed(ground: Ground) -> None:
    ground.command("google-chrome", "")
    assert ground.find() == "google-chrome"
    assert (ground.calls(), ground.said) == ([], [])


def test_a_name_behind_which_is_no_browser_that_starts_is_passed_over(ground: Ground) -> None:
    ground.command("chromium-browser", "echo stub")
    ground.own.touch()
    assert ground.find() == "playwright"
    assert ground.calls() == []


def test_playwright_s_own_is_downloaded_before_a_package_is_installed(ground: Ground) -> None:
    ground.command("download", ground.putting(ground.own))
    ground.command("apt-get", ground.putting(ground.bin / "chromium"))
    assert ground.find() == "playwright"
    assert ground.calls() == ["download "]


def test_the_package_is_installed_though_the_lists_could_not_be_had(ground: Ground) -> None:
    script = f'case "$*" in *update*) exit 100;; esac; {ground.putting(ground.bin / "chromium")}'
    ground.command("apt-get", script)
    assert ground.find() == "chromium"
    assert [call.split()[0] for call in ground.calls()] == ["download", "apt-get", "apt-get"]
    assert any("playwright install failed: Error: no such host" in line for line in ground.said)


def test_a_package_that_was_not_to_be_had_is_asked_for_once_more(ground: Ground) -> None:
    marked = ground.bin / "tried"
    script = f"[ -e {marked} ] || {{ : > {marked}; exit 100; }}; {ground.putting(ground.bin / 'chromium')}"
    ground.command("apt-get", f'case "$*" in *install*) {script};; esac')
    assert ground.find() == "chromium"
    assert sum(" install " in call for call in ground.calls()) == 2


def test_without_any_it_is_said_what_was_tried_and_how_to_go_on(ground: Ground) -> None:
    ground.command("chromium", "echo stub")
    ground.command("apt-get", "echo 'E: Unable to locate package chromium' >&2; exit 100")
    with pytest.raises(NoBrowser) as refused:
        ground.find()
    said = str(refused.value)
    for part in (
        "SLUICE_NO_BROWSER=1 make test",
        f"{ground.bin}/chromium: it does not start",
        "no such host",
    ):
        assert part in said
    assert "apt-get install: E: Unable to locate package chromium" in said


@pytest.mark.parametrize(("is_root", "has_apt"), [(False, True), (True, False)])
def test_where_no_package_may_be_installed_none_is_asked_for(
    ground: Ground, is_root: bool, has_apt: bool
) -> None:
    if has_apt:
        ground.command("apt-get", ground.putting(ground.bin / "chromium"))
    with pytest.raises(NoBrowser, match="only root" if has_apt else "no apt-get"):
        ground.find(is_root=is_root)
    assert ground.calls() == ["download "]


def test_two_test_workers_install_once(ground: Ground) -> None:
    ground.command("download", ground.putting(ground.own))
    both_have_looked = Barrier(2, action=lambda: setattr(ground, "before_look", int))
    ground.before_look = lambda: both_have_looked.wait(10)
    with ThreadPoolExecutor(2) as workers:
        found = [worker.result() for worker in [workers.submit(ground.find) for _ in range(2)]]
    assert found == ["playwright", "playwright"]
    assert ground.calls() == ["download "]


@pytest.mark.timeout(180)  # Playwright's driver starts three times
def test_the_command_says_in_a_line_or_two_why_there_is_none(tmp_path: Path) -> None:
    """Playwright's real refusal: its mirror does not answer."""
    environment = {
        "PATH": str(tmp_path),
        "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path),
        "PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:1",
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "devstack.page.browser"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "SLUICE_NO_BROWSER=1 make test" in ended.stderr
    assert "playwright install: Error: connect ECONNREFUSED" in ended.stderr
