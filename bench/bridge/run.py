"""One subject with its readers, and windows of time in which a writer of its own is measured with it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from bench.bridge.subjects import ROOT, Subject
from bench.bridge.usage import cpu_seconds, resident_kib
from devstack.valkey import EmbeddedValkey

WARM_READERS = 20


@dataclass(frozen=True, slots=True)
class Load:
    """How many connections, the share of channels that are written to, and batches a second into each."""

    connections: int
    active: float = 0.2
    rate: float = 20.0
    per_channel: int = 1
    turnover_seconds: float = 0.0

    @property
    def channels(self) -> int:
        return self.connections // self.per_channel

    @property
    def active_channels(self) -> int:
        return max(1, round(self.channels * self.active))

    @property
    def events_a_second(self) -> int:
        return round(self.active_channels * self.rate * self.per_channel)


@dataclass(frozen=True, slots=True)
class Window:
    """What one window showed: events, latencies in ms, and cores by process."""

    expected: int
    arrived: int
    ends: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float
    cores: float
    redis_cores: float
    readers_cores: float
    writer_cores: float
    events_a_second: int

    @property
    def lost(self) -> int:
        return self.expected - self.arrived

    @property
    def us_an_event(self) -> float:
        return self.cores / max(1, self.events_a_second) * 1e6


class Run:
    """A subject's readers, all of them connected. A context manager; it owns their process."""

    def __init__(self, subject: Subject, valkey: EmbeddedValkey, load: Load) -> None:
        self.subject = subject
        self.opened: dict[str, float] = {}
        self.kib_a_connection = 0.0
        self._valkey = valkey
        self._load = load
        self._stack = ExitStack()
        self._cpu_seconds = 0.0

    def __enter__(self) -> Self:
        with self._stack:
            self._warm()
            empty_kib = resident_kib(self.subject.pid)
            load = self._load
            self._readers = _start(self._stack, "readers", self.subject.port, load.channels, load.per_channel)
            self.opened = _answer(self._readers)
            self.kib_a_connection = (resident_kib(self.subject.pid) - empty_kib) / load.connections
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _warm(self) -> None:
        """Let the subject import and connect whatever it does at its first readers."""
        with ExitStack() as stack:
            _answer(_start(stack, "readers", self.subject.port, 1, WARM_READERS))

    def window(self, seconds: float) -> Window:
        """Write for so long; return what became of it once all of it has arrived, or nothing more does."""
        load, pids = self._load, (self.subject.pid, self._valkey.pid)
        before = [cpu_seconds(pid) for pid in pids]
        counts = (self._valkey.port, load.channels, load.active_channels)
        with ExitStack() as stack:
            writer = _start(
                stack, "writer", self.subject.verb, *counts, load.rate, seconds, load.turnover_seconds
            )
            written = _answer(writer)
        expected = int(written["written"]) * load.per_channel
        report = _asked(self._readers, expected)
        took = written["took_seconds"]
        cores = [(cpu_seconds(pid) - each) / took for pid, each in zip(pids, before, strict=True)]
        spent_seconds = report["cpu_seconds"] - self._cpu_seconds
        self._cpu_seconds = report["cpu_seconds"]
        return Window(
            expected=expected,
            arrived=int(report["batches"]),
            ends=int(report["ends"]),
            p50_ms=report.get("p50_ms", 0.0),
            p99_ms=report.get("p99_ms", 0.0),
            max_ms=report.get("max_ms", 0.0),
            late_ms=written["late_ms"],
            cores=cores[0],
            redis_cores=cores[1],
            readers_cores=spent_seconds / took,
            writer_cores=written["cpu_seconds"] / took,
            events_a_second=round(expected / took),
        )


def _start(stack: ExitStack, module: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process of this package; the stack ends it by closing its input."""
    command = [sys.executable, "-m", f"bench.bridge.{module}", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _asked(process: subprocess.Popen[str], number: int) -> dict[str, Any]:
    assert process.stdin
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return _answer(process)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without an answer; exit status {process.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return answer
