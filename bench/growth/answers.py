"""Answers of a length, as fast as a model can: what writing, reading again and keeping them costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bench.growth.clocks import cost_of
from bench.growth.lanes import LaneOfTasks
from shared.state import keys
from shared.state.lifecycle import Attempt
from shared.state.store import Arg, Store
from shared.stream.entries import BEGINNING, Place
from shared.stream.publisher import AttemptWriter
from shared.stream.replay import read_extent, replay
from shared.stream.source import Source

WRITING, COMMANDS, ENDING = "writing an answer", "commands for an answer", "ending a task with its answer"
READING, KEEPING = "reading an answer again", "keeping an answer's events"
UNITS = {
    WRITING: "ms of the lane",
    COMMANDS: "commands",
    ENDING: "µs in Redis",
    READING: "ms of the bridge",
    KEEPING: "KiB in Redis",
}
TOKEN = "token "


def costs_of_an_answer(lane: LaneOfTasks, tokens: int) -> Mapping[str, float]:
    """Return what an answer of so many tokens costs, all of it."""
    attempt = lane.claim(lane.admit())
    ref = attempt.ref
    key = keys.events(ref.user_id, ref.service_id, ref.task_id)
    written = cost_of(lane.store, lambda: _write(lane, attempt, key, tokens))
    ended = cost_of(lane.store, lambda: lane.finish(attempt, TOKEN * tokens))
    read = cost_of(lane.store, lambda: asyncio.run(_read_again(lane.store, key)))
    return {
        WRITING: written.cpu_us / 1000,
        COMMANDS: written.commands,
        ENDING: ended.script_us,
        READING: read.cpu_us / 1000,
        KEEPING: int(lane.store.command("MEMORY", "USAGE", key, "SAMPLES", 0)) / 1024,
    }


def _write(lane: LaneOfTasks, attempt: Attempt, key: str, tokens: int) -> None:
    writer = AttemptWriter(
        lane.store,
        key,
        task_id=attempt.ref.task_id,
        step=0,
        attempt=attempt.number,
        epoch_ms=int(attempt.epoch),
        settings=lane.settings.stream,
    )
    with writer:
        for _ in range(tokens):
            writer.token(TOKEN)


class _Here(Source):
    """The bridge's way to Redis, over the lane's own connection."""

    def __init__(self, store: Store) -> None:
        super().__init__("")
        self._store = store

    async def command(self, *args: Arg) -> Any:
        return self._store.command(*args)

    async def pipeline(self, *commands: Sequence[Arg]) -> list[Any]:
        return self._store.pipeline(commands)


async def _read_again(store: Store, key: str) -> None:
    """Read the whole history as the bridge does for a reader who comes from the beginning."""
    source = _Here(store)
    async for _ in replay(source, key, await read_extent(source, key), Place(BEGINNING)):
        pass
