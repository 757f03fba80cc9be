"""A short soak: the same as `make soak`, with a seed that stays."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from devstack.soak.drawing import draw_plan
from devstack.soak.report import print_report, write_json
from devstack.soak.run import Outcome, soak, stack_for_soak

# Seconds of traffic, and then a cool-down that may take as long as a task can.
pytestmark = pytest.mark.timeout(200)
SEED = 5
SECONDS = 15.0


@pytest.fixture(scope="module")
def outcome(build_folder: Any) -> Iterator[Outcome]:
    with stack_for_soak(build_folder) as stack:
        yield soak(stack, draw_plan(SEED, SECONDS), threading.Event(), lambda _: nullcontext())


def test_every_promise_holds_after_seconds_of_traffic_and_faults(outcome: Outcome) -> None:
    """D1, D2, D5, D6, D15, D16, D18, D29, D32: one outcome each, exact coins, exact texts, nothing held or left."""
    broken = [f"{f.claim}: {problem}" for f in outcome.findings for problem in f.problems]
    assert not broken, "\n".join([*broken, f"the faults: {outcome.progress.injector.counts}"])


def test_the_traffic_and_the_faults_were_real(outcome: Outcome) -> None:
    happened = outcome.progress.injector.happened
    assert len(happened) >= len(outcome.plan.faults) - 2, "a process fault may come too late for the traffic"
    assert [each for each in happened if each.problem] == []
    states = [record["state"] for record in outcome.evidence.records.values()]
    assert states.count("done") >= 3
    assert outcome.progress.book.requests["202"] >= 6
    assert outcome.evidence.seen.samples > SECONDS


def test_the_report_names_every_invariant_and_the_command_that_replays_the_schedule(
    outcome: Outcome, tmp_path: Path
) -> None:
    console = Console(file=io.StringIO(), width=300)
    print_report(outcome, console)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert all(finding.claim in told for finding in outcome.findings)
    assert f"--seed {SEED}" in told
    written = json.loads(write_json(outcome, tmp_path).read_text())
    assert (written["seed"], written["schedule"]) == (SEED, outcome.plan.digest)
    assert len(written["invariants"]) == len(outcome.findings)
