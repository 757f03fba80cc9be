"""A coroutine that most often has nothing to wait for: run at once, made a task only if it waits after all.

A socket whose reader keeps up takes a write at once. A task for each would cost more than the write.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


def run_eagerly(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run a coroutine up to its end or to where it waits; return the task that goes on from there.

    What it runs at once runs in whatever task calls this: it must not ask for the current one.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    task = asyncio.get_running_loop().create_task(_rest(coroutine, awaited))
    task.add_done_callback(lambda _: coroutine.close())  # a task that is cancelled at once never meets it
    return task


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Hand on what the coroutine waits for, and what comes of it, as `await` does for one not yet begun."""
    while True:
        try:
            resume = partial(coroutine.send, (yield awaited))
        except BaseException as error:  # noqa: BLE001 - also a cancellation: it is the coroutine's to meet
            resume = partial(coroutine.throw, error)
        try:
            awaited = resume()
        except StopIteration:
            return
