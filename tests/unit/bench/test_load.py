"""An answer that did not arrive is no figure: it ends the run, or is counted where losing is how a peer is."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.pipelines.client import Failed
from bench.pipelines.load import Load, run
from bench.pipelines.provider import Pace
from bench.pipelines.subjects import provider

LOAD = Load(Pace(tokens=1), answers=4, at_once=2)
WHOLE = b"data: t0:%d:%d \n\nevent: done\n\n"


@dataclass
class Some:
    """A subject of whose answers the first has no end."""

    may_lose: bool
    name: str = "some"
    worker_pid: int = os.getpid()
    redis_url: str | None = None
    runs: int = 0

    async def run(self, _deadline_seconds: float, *, partial: bool = False) -> Any:
        self.runs += 1
        now_ns = time.monotonic_ns()
        body = WHOLE % (now_ns, now_ns) if self.runs > 1 else b"data: "
        received = [(now_ns + 5, b"HTTP/1.1 200 OK\r\n\r\n" + body)]
        return SimpleNamespace(received=received, task_id=f"task-{self.runs}")


def made(subject: Any, folder: Path) -> Any:
    with provider(sys.executable, folder) as url:
        return asyncio.run(run(subject, url, LOAD))


def test_a_lost_answer_of_one_who_may_lose_is_left_out_of_all_figures_and_counted(tmp_path: Path) -> None:
    result = made(Some(may_lose=True), tmp_path)
    assert result.task_ids == ["task-2", "task-3", "task-4"]
    assert len(result.readings) == 3
    assert result.answers_per_second == pytest.approx(3 / result.seconds)


def test_a_lost_answer_of_anybody_else_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="some: an answer ended None, 0 tokens came"):
        made(Some(may_lose=False), tmp_path)
