"""The operators' program, as tests run it: called in this process, or as a process of its own, which takes longer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from operations.main import main

PROGRAM = (sys.executable, str(Path(__file__).parents[2] / "scripts" / "sluice"))
WAYS_TO_REDIS = ("REDIS_URL", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")


@dataclass(frozen=True)
class Ran:
    """What a run of a command left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


def call(*arguments: str, **environ: str) -> Ran:
    """Call the program in this process, with these variables and no other way to Redis."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in WAYS_TO_REDIS:
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
    assert "Traceback" not in err.getvalue()
    return Ran(status, out.getvalue(), err.getvalue())


def run(*arguments: str, **environ: str) -> Ran:
    """Run the program as an operator's shell does, with nothing in its environment but these variables."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=bare_environment(**environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def bare_environment(**environ: str) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | environ
