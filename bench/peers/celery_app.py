"""Celery, on Redis, with its defaults: `celery -A bench.peers.celery_app worker --pool threads`."""

from __future__ import annotations

from celery import Celery

from bench.peers import chain

app = Celery("peer", broker=chain.REDIS_URL)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task(name="answer")
def answer(task_id: str) -> None:
    chain.answer(task_id)


async def send(task_id: str) -> None:
    """Queue a task, as a front does."""
    answer.delay(task_id)
