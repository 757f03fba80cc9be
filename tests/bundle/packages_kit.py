"""The packages that are deployed, made for this machine, and how one runs from nothing but itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from deployment.bundles.packaging import Package, package
from deployment.bundles.staging import BUILD_FOLDER
from deployment.bundles.targets import Target
from deployment.catalogue import load_catalogue
from devstack.valkey import free_port

CATALOGUE = load_catalogue()
DEADLINE_SECONDS = 120.0


def build_packages() -> dict[str, Package]:
    """Return all packages; the build folder is the developer's own, so that a second run makes nothing again."""
    return {made.function: made for made in package(CATALOGUE.values(), Target.here(), BUILD_FOLDER)}


def bare_python(folder: Path) -> Path:
    """Return a folder for the path whose `python3` has no package but the standard library."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=DEADLINE_SECONDS
    )
    return folder / "bin"


@contextmanager
def elsewhere(tree: Path, folder: Path) -> Iterator[Path]:
    """Yield a copy of an unpacked package outside of the repository; it is gone afterwards."""
    copy = folder / tree.name
    try:
        shutil.copytree(tree, copy, copy_function=_link_or_copy)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def running(tree: Path, python: Path, variables: Mapping[str, str], log: Path) -> Iterator[str]:
    """Yield the address of a package that its own run.sh started."""
    port = free_port()
    environment = {"PATH": f"{python}:/usr/bin:/bin", "HOME": str(log.parent), "PORT": str(port), **variables}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [tree / "run.sh"], cwd="/", env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            httpx.get(f"{url}/robots.txt", timeout=DEADLINE_SECONDS)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
