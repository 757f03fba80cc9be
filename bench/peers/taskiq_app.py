"""Taskiq, on a Redis stream: `taskiq worker bench.peers.taskiq_app:broker`.

The task is sync and runs in Taskiq's threads: LangChain's async stream costs two to three times as much.
"""

from __future__ import annotations

from taskiq_redis import RedisStreamBroker

from bench.peers import chain

broker = RedisStreamBroker(url=chain.REDIS_URL)


@broker.task
def answer(task_id: str) -> None:
    chain.answer(task_id)


async def send(task_id: str) -> None:
    """Queue a task, as a front does."""
    await answer.kiq(task_id)
