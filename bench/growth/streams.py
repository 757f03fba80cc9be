"""Streams at once in one lane, at a model's usual pace: what each costs when it is one of many."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from bench.growth.clocks import cost_of
from bench.growth.lanes import LaneOfTasks
from shared.state import keys
from shared.state.lifecycle import Attempt
from shared.stream.publisher import AttemptWriter

TOKENS_PER_SECOND = 50
SECONDS = 1.5
COMMANDS, CPU = "commands of a stream", "processor time of a token"
UNITS = {COMMANDS: "commands a second", CPU: "µs of the lane"}


def costs_of_streams(lane: LaneOfTasks, streams: int) -> Mapping[str, float]:
    """Return what one of so many streams costs."""
    attempts = [lane.claim(lane.admit()) for _ in range(streams)]

    def all_at_once() -> None:
        threads = [threading.Thread(target=_stream, args=(lane, attempt)) for attempt in attempts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    cost = cost_of(lane.store, all_at_once)
    for attempt in attempts:
        lane.finish(attempt)
    tokens = streams * SECONDS * TOKENS_PER_SECOND
    return {COMMANDS: cost.commands / streams / SECONDS, CPU: cost.cpu_us / tokens}


def _stream(lane: LaneOfTasks, attempt: Attempt) -> None:
    ref = attempt.ref
    pause = threading.Event()
    writer = AttemptWriter(
        lane.store,
        keys.events(ref.user_id, ref.service_id, ref.task_id),
        task_id=ref.task_id,
        step=0,
        attempt=attempt.number,
        epoch_ms=int(attempt.epoch),
        settings=lane.settings.stream,
    )
    with writer:
        for _ in range(int(SECONDS * TOKENS_PER_SECOND)):
            writer.token("token ")
            pause.wait(1 / TOKENS_PER_SECOND)
