"""Where a package will run: the Python and the platform that its dependencies are chosen and compiled for."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deployment.bundles.staging import BuildError

DEFAULT_PYTHON = "3.13"
_LINUX = "manylinux_2_28"  # the oldest C library of the clouds' Pythons from 3.12 on has 2.34
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
PLATFORMS = tuple(f"{machine}-{_LINUX}" for machine in ("x86_64", "aarch64"))
_PLATFORM = re.compile(r"(x86_64|aarch64)-[a-z0-9_-]+")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


@dataclass(frozen=True, slots=True)
class Target:
    """A minor version of Python, and a platform by the name that uv has for it."""

    python: str = DEFAULT_PYTHON
    platform: str = PLATFORMS[0]

    def __post_init__(self) -> None:
        if not _PYTHON.fullmatch(self.python):
            raise BuildError(f"{self.python} is no minor version of Python (such as {DEFAULT_PYTHON}).")
        if not _PLATFORM.fullmatch(self.platform):
            raise BuildError(f"{self.platform} is no platform to build for (such as {PLATFORMS[0]}).")

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform}"

    @property
    def architecture(self) -> str:
        """Return the processor by the clouds' name for it: `x86_64` or `arm64`."""
        return "arm64" if self.platform.startswith("aarch64-") else "x86_64"

    @classmethod
    def of(cls, python: str, architecture: str) -> Self:
        """Return the clouds' target with this Python on this architecture (`x86_64` or `arm64`)."""
        return cls(python, f"{_machine(architecture)}-{_LINUX}")

    @classmethod
    def here(cls, python: str | None = None) -> Self:
        """Return this machine's own target, by default for the Python that is running."""
        machine = _machine(platform.machine())
        system = f"{machine}-apple-darwin" if sys.platform == "darwin" else f"{machine}-{_LINUX}"
        return cls(python or f"{sys.version_info.major}.{sys.version_info.minor}", system)

    @property
    def runs_here(self) -> bool:
        """Return whether this machine has the target's platform."""
        return self.platform == Target.here().platform


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of this machine."""

    path: Path
    version: str
    """All of it, such as `3.13.0`."""


def find_interpreter(python: str, environ: Mapping[str, str] = os.environ) -> Interpreter:
    """Return an interpreter of a minor version: this process's own, one on the path, one of pyenv's.

    Raises:
        BuildError: there is none; the text says what to do.
    """
    for path in _candidates(python, environ):
        if (version := _version(path)).startswith(f"{python}."):
            return Interpreter(path, version)
    raise BuildError(
        f"There is no Python {python} on this machine to compile the package with. Install it, build for a "
        "Python that is here (--python), or leave compiling to every cold start (--no-bytecode)."
    )


def _candidates(python: str, environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(sys.executable)
    for folder in filter(None, environ.get("PATH", "").split(os.pathsep)):
        yield Path(folder) / f"python{python}"
    # A shim of pyenv's answers only for the versions that are switched on; the others are there all the same.
    pyenv = Path(environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{python}.*/bin/python{python}"))


def _version(path: Path) -> str:
    """Return an interpreter's version, or nothing when it is not there or does not start."""
    if not os.access(path, os.X_OK):
        return ""
    command = [str(path), "-I", "-S", "-c", _VERSION]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _machine(name: str) -> str:
    if name.lower() not in _MACHINES:
        raise BuildError(f"{name} is no architecture to build for (x86_64 or arm64).")
    return _MACHINES[name.lower()]
