"""How many readers one bridge holds, how late they are, and what that costs.

    python -m bench.bridge --connections 2000 [--active 0.2] [--rate 20] [--seconds 10] [--turnover 0] …

A real Valkey, the function `events` as it is deployed, a process of readers and a process of writers, all on
this machine: they share its processors, so a figure is an upper bound of what the bridge alone would show. It
prints a table, and asserts nothing but that every batch arrived at everybody.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bridge.channels import SECRET
from bench.bridge.usage import cpu_seconds, reads, resident_kib
from bench.bridge.writer import create
from devstack.processes import FunctionProcess, free_ports, source_command
from devstack.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
SETTLE_SECONDS = 0.5
WARM_UP_SECONDS = 3.0


@dataclass(frozen=True)
class Load:
    connections: int
    active: float
    rate: float
    seconds: float
    per_channel: int
    turnover: float

    @property
    def channels(self) -> int:
        return self.connections // self.per_channel

    @property
    def active_channels(self) -> int:
        return max(1, round(self.channels * self.active))


def main() -> int:
    load = _arguments()
    with ExitStack() as stack:
        valkey = stack.enter_context(EmbeddedValkey())
        bridge = _start_bridge(stack, valkey)
        create(valkey.port, load.channels, open_until_ms=time.time_ns() // 1_000_000 + 3_600_000)
        _warm(bridge)
        empty_kib = resident_kib(bridge.pid or 0)
        readers = _start(stack, "readers", bridge.port, load.channels, load.per_channel)
        opened = _answer(readers)
        held_kib = resident_kib(bridge.pid or 0) - empty_kib
        _write(stack, valkey, load, WARM_UP_SECONDS)
        time.sleep(SETTLE_SECONDS)
        _say(readers, "forget")
        figures = _measure(stack, valkey, bridge, load)
        time.sleep(SETTLE_SECONDS)
        _say(readers, "report")
        report = _answer(readers)
        full_kib = resident_kib(bridge.pid or 0) - empty_kib
    _print(load, opened, figures, report, held_kib, full_kib)
    complete = report["batches"] == figures["written"] * load.per_channel and not report["ends"]
    return 0 if complete else 1


def _arguments() -> Load:
    parser = argparse.ArgumentParser(prog="python -m bench.bridge", description=__doc__)
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--active", type=float, default=0.2, help="the share of channels that are written to")
    parser.add_argument("--rate", type=float, default=20, help="batches a second into each of them")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--per-channel", type=int, default=1, help="readers of one channel")
    parser.add_argument(
        "--turnover", type=float, default=0, help="other channels become active each so many seconds"
    )
    return Load(**vars(parser.parse_args()))


def _start_bridge(stack: ExitStack, valkey: EmbeddedValkey) -> FunctionProcess:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
    environment = {
        **{name: os.environ[name] for name in ("PATH", "BENCH_PROFILE") if name in os.environ},
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "SLUICE_ENV": "dev",
        "REDIS_URL": valkey.url,
        "STREAM_TOKEN_SECRET": SECRET,
        "ALLOWED_ORIGINS": "*",
    }
    bundle, (port,) = ROOT / "functions/events", free_ports(1)
    process = FunctionProcess(
        "events",
        bundle=bundle,
        command=source_command(bundle, "events", port),
        port=port,
        environment=environment,
        log_file=folder / "log",
    )
    process.start()
    stack.callback(lambda: print(process.log_file.read_text(), end=""))
    stack.callback(lambda: process.wait_stopped(time.monotonic() + 10))
    stack.callback(process.request_stop)
    process.wait_ready(time.monotonic() + START_SECONDS)
    return process


def _warm(bridge: FunctionProcess) -> None:
    """Let the bridge import and connect whatever it does at its first readers."""
    with ExitStack() as stack:
        readers = _start(stack, "readers", bridge.port, 1, 20)
        _answer(readers)
        _say(readers, "leave")
        readers.wait()


def _start(stack: ExitStack, module: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"bench.bridge.{module}", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _say(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def _measure(
    stack: ExitStack, valkey: EmbeddedValkey, bridge: FunctionProcess, load: Load
) -> dict[str, float]:
    pids = {"bridge": bridge.pid or 0, "redis": valkey.pid}
    reads_before = reads(valkey.url)
    before, started = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    figures = _write(stack, valkey, load, load.seconds)
    took = time.monotonic() - started
    count, seconds = (after - before for after, before in zip(reads(valkey.url), reads_before, strict=True))
    figures |= {"reads": count / took, "read_ms": seconds / max(1, count) * 1000}
    return figures | {f"{name}_cores": (cpu_seconds(pid) - before[name]) / took for name, pid in pids.items()}


def _write(stack: ExitStack, valkey: EmbeddedValkey, load: Load, seconds: float) -> dict[str, float]:
    counts = (load.channels, load.active_channels)
    return _answer(_start(stack, "writer", valkey.port, *counts, load.rate, seconds, load.turnover))


def _print(
    load: Load,
    opened: dict[str, float],
    figures: dict[str, float],
    report: dict[str, float],
    held_kib: float,
    full_kib: float,
) -> None:
    expected = round(figures["written"] * load.per_channel)
    rows = {
        "connections": f"{opened['connections']} on {load.channels} channels, {load.active_channels} active",
        "to open one, 200 at a time": f"p50 {opened['p50_open_ms']} ms, p99 {opened['p99_open_ms']} ms",
        "batches arrived": f"{report['batches']} of {expected}, {expected / load.seconds:.0f} a second",
        "added latency": ", ".join(f"{q} {report[f'{q}_ms']} ms" for q in ("p50", "p99", "p999", "max")),
        "the writer was late by": f"{figures['late_ms']} ms at most",
        "cores of the bridge": f"{figures['bridge_cores']:.2f},"
        f" {figures['bridge_cores'] * load.seconds * 1e6 / expected:.0f} µs a batch",
        "cores of Redis": f"{figures['redis_cores']:.2f}, {figures['reads']:.0f} reads a second"
        f" that take it {figures['read_ms']:.2f} ms each",
        "memory a connection": f"{held_kib / opened['connections']:.1f} KiB opened,"
        f" {full_kib / opened['connections']:.1f} KiB after the run",
        "connections ended": f"{report['ends']:.0f}",
    }
    for name, value in rows.items():
        print(f"{name:<28}{value}")


if __name__ == "__main__":
    sys.exit(main())
