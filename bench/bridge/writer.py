"""The workers of the benchmark: a process that writes batches into the active channels, evenly spread.

    python -m bench.bridge.writer REDIS_PORT CHANNELS ACTIVE PER_SECOND SECONDS TURN_SECONDS

Prints how many batches it has written, and by how much the last one was late.
"""

from __future__ import annotations

import json
import sys
import time

from bench.bridge.channels import first_events, stream_key, token_batch
from bench.bridge.resp import Pipe, packed

PIPELINED = 1_000
TICK_MS = 1.0


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
    port: int, channels: int, active: int, per_second: float, seconds: float, turn_seconds: float
) -> dict[str, float]:
    """Write into the first channels or, with turns, into others each time."""
    figures: list[dict[str, float]] = []
    first, left_seconds = 0, seconds
    while left_seconds > 0:
        now_seconds = min(turn_seconds or seconds, left_seconds)
        figures.append(write(port, range(first, first + active), per_second, now_seconds))
        left_seconds -= now_seconds
        first = (first + active) % max(1, channels - active)
    written = sum(each["written"] for each in figures)
    return {"written": written, "late_ms": max(each["late_ms"] for each in figures)}


def write(port: int, channels: range, per_second: float, seconds: float) -> dict[str, float]:
    """Write `per_second` batches a second into each of the channels, in turn."""
    pipe = Pipe(port)
    keys = {channel: stream_key(channel) for channel in channels}
    epoch_ms = time.time_ns() // 1_000_000
    for channel in channels:  # another attempt: its text begins anew
        _, start = first_events(channel, epoch_ms)
        pipe.send([packed("XADD", keys[channel], f"{epoch_ms}-0", "e", start)])
    pipe.settle()
    step_seconds = 1 / per_second / len(channels)
    total, written, late_seconds = round(seconds / step_seconds), 0, 0.0
    started = time.monotonic()
    while written < total:
        due = min(total, int((time.monotonic() - started) / step_seconds) + 1)
        late_seconds = max(late_seconds, time.monotonic() - started - written * step_seconds)
        pipe.send(_batch(keys, channels, epoch_ms, number) for number in range(written, due))
        pipe.settle()
        written = due
        time.sleep(max(0.0, min(TICK_MS / 1000, started + written * step_seconds - time.monotonic())))
    pipe.close()
    return {"written": written, "late_ms": round(late_seconds * 1000, 1)}


def _batch(keys: dict[int, str], channels: range, epoch_ms: int, number: int) -> bytes:
    turn, channel = number // len(channels), channels[number % len(channels)]
    id_ = f"{epoch_ms}-{turn + 1}"
    event = token_batch(channel, turn)
    return packed("XADD", keys[channel], "NOMKSTREAM", "MAXLEN", "~", 10_000, id_, "e", event)


if __name__ == "__main__":
    counts, times = map(int, sys.argv[1:4]), map(float, sys.argv[4:7])
    print(json.dumps(write_in_turns(*counts, *times)))
