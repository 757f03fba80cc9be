"""The dev stack's functions as processes: those of the local provider, whose failures are the stack's.

A function runs from its bundle, by the same `run.sh` as everywhere; a test or a benchmark that needs one
alone may run it from its source.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deployment.providers.local import processes
from deployment.providers.local.processes import START_SECONDS, STOP_SECONDS, free_ports

__all__ = ["START_SECONDS", "STOP_SECONDS", "FunctionProcess", "StackError", "free_ports", "source_command"]


class StackError(Exception):
    """The dev stack cannot start."""


class FunctionProcess(processes.FunctionProcess):
    """The process of one function of the stack."""

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it listens.

        Raises:
            StackError: it runs already.
        """
        try:
            super().start()
        except processes.StartFailed as failed:
            raise StackError(str(failed)) from failed

    def is_ready(self, deadline: float) -> bool:
        """Tell whether the function listens by now.

        Raises:
            StackError: it ended instead, or the deadline (of `time.monotonic`) has passed.
        """
        try:
            return super().is_ready(deadline)
        except processes.StartFailed as failed:
            raise StackError(str(failed)) from failed


def source_command(folder: Path, name: str, port: int) -> list[str]:
    """Return what runs a function from the folder of its source, which is no bundle."""
    command = [sys.executable, "-m", "functions_framework", "--source", str(folder / "main.py")]
    return [*command, "--target", name, "--host", "127.0.0.1", "--port", str(port)]
