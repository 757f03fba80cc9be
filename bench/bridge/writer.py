"""The workers of the benchmark: a process that writes batches into the active channels, evenly spread.

    python -m bench.bridge.writer VERB REDIS_PORT CHANNELS ACTIVE PER_SECOND SECONDS TURN_SECONDS

VERB is `XADD`, or `PUBLISH` for the relay. Prints how many batches it has written, and by how much the
latest of them was late.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from bench.bridge.channels import first_events, stream_key, token_batch
from bench.bridge.resp import Pipe, packed

PIPELINED = 1_000
TICK_MS = 1.0
Command = Callable[[str, str, str], bytes]
"""Makes the command that says an event: of a stream's key, an id and the event."""


def stored(key: str, id_: str, event: str) -> bytes:
    return packed("XADD", key, "NOMKSTREAM", "MAXLEN", "~", 10_000, id_, "e", event)


def published(key: str, _id: str, event: str) -> bytes:
    return packed("PUBLISH", key, event)


COMMANDS: dict[str, Command] = {"XADD": stored, "PUBLISH": published}


def create(port: int, channels: int, *, open_until_ms: int) -> int:
    """Make every channel's stream with its first two events, and its record; return the attempts' epoch."""
    pipe = Pipe(port)
    epoch_ms = time.time_ns() // 1_000_000
    for channel in range(channels):
        key, (queued, start) = stream_key(channel), first_events(channel, epoch_ms)
        record = ("userId", f"u{channel}", "serviceId", f"s{channel}", "state", "queued", "step", 0)
        pipe.send(
            [
                packed("XADD", key, f"{epoch_ms - 1}-0", "e", queued),
                packed("XADD", key, f"{epoch_ms}-0", "e", start),
                packed("HSET", f"task:t{channel}", *record),
                packed("ZADD", "tasks:open", open_until_ms, f"t{channel}"),
            ]
        )
        if channel % PIPELINED == 0:
            pipe.settle()
    pipe.settle()
    pipe.close()
    return epoch_ms


def write_in_turns(
    command: Command,
    port: int,
    channels: int,
    active: int,
    per_second: float,
    seconds: float,
    turn_seconds: float,
) -> dict[str, float]:
    """Write into the first channels or, with turns, into others each time."""
    figures: list[dict[str, float]] = []
    first, left_seconds = 0, seconds
    while left_seconds > 0:
        now_seconds = min(turn_seconds or seconds, left_seconds)
        figures.append(write(command, port, range(first, first + active), per_second, now_seconds))
        left_seconds -= now_seconds
        first = (first + active) % max(1, channels - active)
    written = sum(each["written"] for each in figures)
    return {
        "written": written,
        "late_ms": max(each["late_ms"] for each in figures),
        "cpu_seconds": time.process_time(),
        "took_seconds": sum(each["took_seconds"] for each in figures),
    }


def write(
    command: Command, port: int, channels: range, per_second: float, seconds: float
) -> dict[str, float]:
    """Write `per_second` batches a second into each of the channels, in turn."""
    pipe = Pipe(port)
    keys = {channel: stream_key(channel) for channel in channels}
    epoch_ms = time.time_ns() // 1_000_000
    for channel in channels:  # another attempt: its text begins anew
        _, start = first_events(channel, epoch_ms)
        pipe.send([command(keys[channel], f"{epoch_ms}-0", start)])
    pipe.settle()
    step_seconds = 1 / per_second / len(channels)
    total, written, late_seconds = round(seconds / step_seconds), 0, 0.0
    started = time.monotonic()
    while written < total:
        due = min(total, int((time.monotonic() - started) / step_seconds) + 1)
        late_seconds = max(late_seconds, time.monotonic() - started - written * step_seconds)
        pipe.send(_batch(command, keys, channels, epoch_ms, number) for number in range(written, due))
        pipe.settle()
        written = due
        time.sleep(max(0.0, min(TICK_MS / 1000, started + written * step_seconds - time.monotonic())))
    pipe.close()
    return {
        "written": written,
        "late_ms": round(late_seconds * 1000, 1),
        "took_seconds": time.monotonic() - started,
    }


def _batch(command: Command, keys: dict[int, str], channels: range, epoch_ms: int, number: int) -> bytes:
    turn, channel = number // len(channels), channels[number % len(channels)]
    return command(keys[channel], f"{epoch_ms}-{turn + 1}", token_batch(channel, turn))


if __name__ == "__main__":
    counts, times = map(int, sys.argv[2:5]), map(float, sys.argv[5:8])
    print(json.dumps(write_in_turns(COMMANDS[sys.argv[1]], *counts, *times)))
