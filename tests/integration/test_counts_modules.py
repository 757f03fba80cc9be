"""What each function imports before its first request: every cold start pays for it."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from deployment.catalogue import FunctionSpec, load_catalogue
from shared.routing import Lane
from tests.counts_kit import AtMost, hold

ROOT = Path(__file__).parents[2]
_LIST = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="main")
print(*sorted(name for name in sys.modules if name != "__main__"))
"""
_ENVIRON = {
    "SLUICE_ENV": "dev",
    "REDIS_URL": "redis://127.0.0.1:1",
    "QSTASH_URL": "http://127.0.0.1:1",
    "QSTASH_TOKEN": "a-token-of-the-tests",
    "QSTASH_CURRENT_SIGNING_KEY": "sig_of-the-tests-0123456789abcdef",
    "QSTASH_NEXT_SIGNING_KEY": "sig_of-the-tests-fedcba9876543210",
    "AUTH_JWT_SECRET": "a secret of users' tokens, of thirty-two bytes and more",
    "STREAM_TOKEN_SECRET": "a secret of stream tokens, of thirty-two bytes and more",
    "ALLOWED_ORIGINS": "https://app.sluice.test",
    "BLOB_URL": "file:///tmp",
    "ROUTE_URL": "https://lane.sluice.test",
    "ACTIONS_URL": "https://actions.sluice.test",
    "EVENTS_URL": "https://events.sluice.test",
    "DEEPSEEK_API_KEY": "unused",
    "GLM_API_KEY": "unused",
    **{lane.url_variable: f"https://{lane.replace('_', '-')}.sluice.test" for lane in Lane},
}


def imported_at_start(function: str) -> frozenset[str]:
    """Return all modules that a function's process has before it is asked anything."""
    command = [sys.executable, "-c", _LIST, str(ROOT / "functions" / function / "main.py")]
    environ = {**_ENVIRON, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(ran.stdout.split())


@functools.cache
def bundled_packages(requirements: str) -> frozenset[str]:
    """Return the packages that a function's own list installs: where it runs, there are no others to import."""
    text = (ROOT / "requirements" / f"{requirements}.txt").read_text(encoding="utf-8")
    names = {
        _normalised(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)
    }
    installed = (each for each in distributions() if _normalised(each.name) in names)
    records = [each.read_text("RECORD") or "" for each in installed]
    files = [line.partition(",")[0] for record in records for line in record.splitlines()]
    return frozenset(_top(file.partition("/")[0]) for file in files)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def counts_of(spec: FunctionSpec) -> dict[str, Any]:
    modules = imported_at_start(spec.name)
    bundled = {name for name in modules if _top(name) in bundled_packages(spec.requirements)}
    standard = {name for name in modules if _top(name) in sys.stdlib_module_names}
    return {
        "modules": AtMost(len(bundled) + len(standard)),
        "packages": sorted({_top(name) for name in bundled if not name.startswith("_")}),
        "shared": sorted(_of_shared(modules)),
    }


def _top(module: str) -> str:
    return module.partition(".")[0]


def _of_shared(modules: Iterable[str]) -> Iterable[str]:
    return (name.removeprefix("shared.") for name in modules if name.startswith("shared."))


def test_each_function_imports_exactly_these_packages_and_rooms_at_its_start() -> None:
    hold("modules", {name: counts_of(spec) for name, spec in load_catalogue().items()})
