"""Dramatiq, on Redis, with its defaults: `dramatiq bench.peers.dramatiq_app`."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers import chain

broker = RedisBroker(url=chain.REDIS_URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def answer(task_id: str) -> None:
    chain.answer(task_id)


async def send(task_id: str) -> None:
    """Queue a task, as a front does."""
    answer.send(task_id)
