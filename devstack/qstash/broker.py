"""The broker: carries each message from its acceptance to its end, one asyncio task a message.

    accepted → (waits in its queue) → (waits for its delay) → ┌ waits at its flow gate → is sent ┐ → DELIVERED
                                                              └───── waits for its retry ◀failed─┘ → FAILED

At-least-once, as QStash is: with its faults it duplicates and loses. All of it lives in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from devstack.qstash.attempts import Attempts, Outcome
from devstack.qstash.callbacks import callback_body, callback_instructions
from devstack.qstash.clock import Clock
from devstack.qstash.deduplication import Deduplicator
from devstack.qstash.delivery import Courier
from devstack.qstash.faults import Faults
from devstack.qstash.instructions import Instructions
from devstack.qstash.journal import Journal, LogState
from devstack.qstash.message import Message
from devstack.qstash.queues import Queues
from devstack.qstash.signing import random_text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    message_id: str
    deduplicated: bool = False


class Broker:
    def __init__(
        self,
        courier: Courier,
        clock: Clock,
        faults: Faults,
        *,
        rng: random.Random,
        deduplicator: Deduplicator,
    ) -> None:
        self.clock = clock
        self.open: dict[str, Message] = {}
        self.journal = Journal()
        self.queues = Queues(clock)
        self.attempts = Attempts(courier, clock, faults, self.journal)
        self._faults = faults
        self._rng = rng
        self._deduplicator = deduplicator
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def draft(self, url: str, body: bytes, instructions: Instructions, **facts: Any) -> Message:
        """Make a message with an id of its own; `facts` are further fields of it."""
        now_ms = self.clock.now_ms()
        delay_seconds = instructions.delay_seconds
        if instructions.not_before_seconds is not None:  # beats the delay
            delay_seconds = max(0.0, instructions.not_before_seconds - now_ms / 1000)
        return Message(
            id="msg_" + random_text(self._rng, 40),
            url=url,
            body=body,
            instructions=instructions,
            created_at_ms=now_ms,
            not_before_ms=now_ms + round(self.clock.scaled(delay_seconds) * 1000),
            **facts,
        )

    def publish(self, message: Message) -> Receipt:
        """Accept `message`, or name the one that it duplicates."""
        first_id = self._deduplicator.first_id(message)
        if first_id != message.id:
            self.journal.counts["deduplicated"] += 1
            return Receipt(first_id, deduplicated=True)
        self.journal.counts["published"] += 1
        if message.spoilable and self._faults.take("drop_publish", message.url):
            self.journal.counts["dropped"] += 1
        else:
            self._start(message)
        return Receipt(message.id)

    def cancel(self, message_id: str) -> bool:
        """Give up on a message that has not ended; False when there is none."""
        task = self._tasks.get(message_id)
        if task is None:
            return False
        self.journal.record(self.open[message_id], LogState.CANCELED, self.clock.now_ms())
        return task.cancel()

    def revive(self, dlq_id: str, instructions: Instructions) -> Receipt:
        """Send a dead letter again, as a new message."""
        dead = self.attempts.dead_letters.pop(dlq_id).message
        message = self.draft(
            dead.url, dead.body, instructions, schedule_id=dead.schedule_id, queue=dead.queue
        )
        self.journal.counts["revived"] += 1
        self._start(message)
        return Receipt(message.id)

    def _start(self, message: Message) -> asyncio.Task[None]:
        self.journal.record(message, LogState.CREATED, self.clock.now_ms())
        flow = message.instructions.flow
        if flow is not None:
            self.attempts.gates[flow.key].configure(flow)
        self.open[message.id] = message
        task = self._tasks[message.id] = asyncio.create_task(self._carry(message))
        task.add_done_callback(lambda ended: self._forget(message, ended))
        return task

    def _forget(self, message: Message, ended: asyncio.Task[None]) -> None:
        self.open.pop(message.id)
        self._tasks.pop(message.id)
        if not ended.cancelled() and (error := ended.exception()) is not None:
            log.error("carrying %s broke down", message.id, exc_info=error)

    async def _carry(self, message: Message) -> None:
        async with self._queue_place(message):
            await asyncio.sleep(max(0, message.not_before_ms - self.clock.now_ms()) / 1000)
            callbacks = []
            while True:
                outcome = await self.attempts.run(message)
                callbacks += self._report(message, outcome)
                if outcome.delay_seconds is None:
                    break
                await self.clock.sleep(outcome.delay_seconds)
                message.retried += 1
            if message.queue is not None and callbacks:  # the next one of a queue waits for these as well
                await asyncio.wait(callbacks)

    @asynccontextmanager
    async def _queue_place(self, message: Message) -> AsyncIterator[None]:
        if message.queue is None:
            yield
            return
        async with self.queues.get_or_create(message.queue).gate.place():
            yield

    def _report(self, message: Message, outcome: Outcome) -> list[asyncio.Task[None]]:
        asked, started = message.instructions, []
        if asked.callback is not None:
            body = callback_body(message, outcome.answer)
            started += self._call_back(message, asked.callback, body, asked.callback_headers)
        if asked.failure_callback is not None and outcome.dlq_id is not None:
            body = callback_body(message, outcome.answer, outcome.dlq_id)
            started += self._call_back(message, asked.failure_callback, body, asked.failure_callback_headers)
        return started

    def _call_back(
        self, source: Message, url: str, body: bytes, headers: Mapping[str, str]
    ) -> list[asyncio.Task[None]]:
        if self._faults.take("drop_callbacks", url):
            return []
        self.journal.counts["callbacks"] += 1
        callback = self.draft(url, body, callback_instructions(source, headers))
        callback.delivered_twice = self._faults.take("double_callbacks", url)
        return [self._start(callback)]
