"""Prometheus' own tool takes the rules of `docs/ops/`, sees each alert fire where it should, and takes a scrape."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.actions.metrics import read_state, render
from shared.config import get_concurrency_config
from shared.settings import Env
from shared.state.store import Store

ROOT = Path(__file__).parents[2]
OPS = ROOT / "docs" / "ops"
KEPT = ROOT / "build" / "tools" / "prometheus"


@pytest.fixture(scope="module")
def promtool() -> str:
    """The tool: this machine's, or out of Debian's package, which is unpacked under build/ and not installed."""
    if os.environ.get("SLUICE_NO_PROMTOOL"):
        pytest.skip("SLUICE_NO_PROMTOOL is set")
    kept = KEPT / "usr" / "bin" / "promtool"
    if not (found := shutil.which("promtool")) and not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        for command in (
            ["apt-get", "download", "prometheus"],
            ["sh", "-c", "dpkg-deb -x prometheus_*.deb ."],
        ):
            ran = subprocess.run(command, cwd=KEPT, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, f"install promtool, or set SLUICE_NO_PROMTOOL=1: {ran.stderr}"
    return found or str(kept)


def test_promtool_takes_every_rule(promtool: str) -> None:
    files = sorted(OPS.glob("*.rules.yml"))
    ran = subprocess.run([promtool, "check", "rules", *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("SUCCESS") == len(files) == 2


def test_each_alert_fires_where_it_should_and_not_where_it_should_not(promtool: str) -> None:
    command = [promtool, "test", "rules", "alerts.test.yml"]
    ran = subprocess.run(command, cwd=OPS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout


def test_promtool_finds_nothing_odd_in_a_scrape(promtool: str, store: Store) -> None:
    limits = get_concurrency_config({})
    scraped = render(read_state(store, limits, usage_days=400), limits, Env.DEV).body
    ran = subprocess.run([promtool, "check", "metrics"], input=scraped, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
