"""Bytecode in a bundle: made once by the target's Python, because a cloud's file system keeps none.

It is never checked against its source again (*unchecked*: a cold start reads no source at all), so it is only
ever made in a fresh folder, last. One process compiles one folder in the order of its names: bytecode marks
which constants are shared, and that depends on what the process has compiled before.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from deployment.bundles.staging import BuildError
from deployment.bundles.targets import Interpreter

_WHERE_IT_RUNS = "/var/task"
"""What tracebacks would name; Python puts the true place in when it imports the file."""
_LONGEST_SECONDS = 900


def compile_folder(folder: Path, interpreter: Interpreter) -> None:
    """Put `__pycache__/*.pyc` beside every source of `folder`.

    Raises:
        BuildError: a source does not compile for this Python.
    """
    mode = ("-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", _WHERE_IT_RUNS)
    command = [str(interpreter.path), "-I", "-S", "-W", "ignore", "-m", "compileall", *mode, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False)
    if ran.returncode != 0:
        said = (ran.stdout + ran.stderr).strip().replace(f"{folder}/", "")
        raise BuildError(f"Python {interpreter.version} does not compile it:\n{said}")
