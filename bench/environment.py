"""The peers' Python environment: `build/bench-venv`, made once from `requirements/bench.txt`, hashes checked.

Peers bring their own clients and brokers, which have no place in the product's environment; what they share
with it, LangChain and the OpenAI client above all, is locked to the same version: pipelines are compared.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "bench-venv"
REQUIREMENTS = ROOT / "requirements" / "bench.txt"
_PACKAGE = re.compile(r"^[A-Za-z0-9][\w.\-\[\]]*==", re.MULTILINE)
_TAKEN = ("Collecting ", "Requirement already")


class EnvironmentFailed(Exception):
    """The peers' packages could not be installed."""


def python_of_peers(progress: Callable[[str], None], folder: Path = FOLDER) -> Path:
    """Return the interpreter that has the peers; makes its environment unless it is there and up to date.

    Raises:
        EnvironmentFailed: pip failed; the message ends with what it said.
    """
    python, stamp = folder / "bin" / "python", folder / "stamp"
    wanted = _fingerprint()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        progress("peers: making build/bench-venv (once)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        _install(python, progress)
        stamp.write_text(wanted)
    return python


def versions_of_peers(names: tuple[str, ...]) -> dict[str, str]:
    """Return the locked versions of these packages."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    found = {
        name: re.search(rf"^{re.escape(name)}(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE) for name in names
    }
    return {name: match[1] for name, match in found.items() if match}


def _fingerprint() -> str:
    return f"{sys.version.split()[0]} {hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}"


def _install(python: Path, progress: Callable[[str], None]) -> None:
    count = len(_PACKAGE.findall(REQUIREMENTS.read_text(encoding="utf-8")))
    options = ["--disable-pip-version-check", "--no-input", "--require-hashes", "-r", str(REQUIREMENTS)]
    command = [str(python), "-m", "pip", "install", *options]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            said.append(line)
            if line.startswith(_TAKEN):
                taken = sum(each.startswith(_TAKEN) for each in said)
                progress(f"peers: installing, {taken} of {count} packages")
    if pip.returncode != 0:
        raise EnvironmentFailed("The peers could not be installed. pip said:\n" + "".join(said[-15:]))
