"""One attempt at a message: wait for its turn, deliver, settle what comes next; and a delivery's faults."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from devstack.qstash.backoff import next_delay_seconds
from devstack.qstash.clock import Clock
from devstack.qstash.dead_letters import DeadLetters
from devstack.qstash.delivery import NO_ANSWER, Answer, Courier
from devstack.qstash.faults import Faults
from devstack.qstash.flow import FlowGate, FlowGates
from devstack.qstash.journal import Journal, LogState
from devstack.qstash.message import Message

HOLD_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    answer: Answer
    delay_seconds: float | None = None
    """How long to wait before the next attempt; None when this was the last."""
    dlq_id: str | None = None
    """The dead letter's id when the message failed for good."""


class Attempts:
    def __init__(self, courier: Courier, clock: Clock, faults: Faults, journal: Journal) -> None:
        self.dead_letters = DeadLetters()
        self.gates = FlowGates(clock)
        self._courier = courier
        self._clock = clock
        self._faults = faults
        self._journal = journal

    async def run(self, message: Message) -> Outcome:
        """Deliver `message` once, when it is its turn."""
        async with self._gate(message).place():
            while self._faults.holds(message.url):  # noqa: ASYNC110  # a switch that any thread flips
                await asyncio.sleep(HOLD_POLL_SECONDS)
            self._journal.record(message, LogState.ACTIVE, self._clock.now_ms())
            answer = await self._send(message)
        return self._settle(message, answer)

    def _gate(self, message: Message) -> FlowGate:
        flow = message.instructions.flow
        return self.gates["" if flow is None else flow.key]

    async def _send(self, message: Message) -> Answer:
        twice = message.delivered_twice or (self._spoils("duplicate", message))
        times = 2 if twice else 1
        self._journal.counts["deliveries"] += times
        if self._faults.duplicate_mode == "concurrent":
            answers = await asyncio.gather(*(self._send_once(message) for _ in range(times)))
        else:
            answers = [await self._send_once(message) for _ in range(times)]
        return answers[0]

    async def _send_once(self, message: Message) -> Answer:
        if self._spoils("drop_delivery", message):
            return Answer(NO_ANSWER, error="the delivery was lost")
        answer = await self._courier.deliver(message, self._clock.now_ms() / 1000)
        if answer.status != NO_ANSWER and self._spoils("drop_response", message):
            return Answer(NO_ANSWER, error="the answer was lost")
        return answer

    def _spoils(self, name: str, message: Message) -> bool:
        return message.spoilable and self._faults.take(name, message.url)

    def _settle(self, message: Message, answer: Answer) -> Outcome:
        now_ms = self._clock.now_ms()
        if answer.delivered:
            self._record(message, LogState.DELIVERED, answer, now_ms)
            return Outcome(answer)
        if answer.non_retryable or message.retried >= message.instructions.retries:
            self._record(message, LogState.FAILED, answer, now_ms)
            return Outcome(answer, dlq_id=self.dead_letters.bury(message, answer, now_ms))
        expression = message.instructions.retry_delay
        delay_seconds = next_delay_seconds(answer.headers, expression, message.retried, now_ms / 1000)
        next_ms = now_ms + round(self._clock.scaled(delay_seconds) * 1000)
        self._record(message, LogState.RETRY, answer, now_ms, next_ms)
        return Outcome(answer, delay_seconds)

    def _record(
        self, message: Message, state: LogState, answer: Answer, now_ms: int, next_ms: int | None = None
    ) -> None:
        facts = {"responseStatus": answer.status, "error": answer.error, "nextDeliveryTime": next_ms}
        self._journal.record(message, state, now_ms, **facts)
