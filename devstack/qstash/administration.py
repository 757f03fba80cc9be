"""The calls that look after the account: queues, schedules, flow control, keys; and the stand-in's own."""

from __future__ import annotations

import random
from typing import Any

from devstack.qstash.broker import Broker
from devstack.qstash.faults import Faults
from devstack.qstash.flow import FlowGate
from devstack.qstash.instructions import parse_instructions
from devstack.qstash.message import Json
from devstack.qstash.publishing import destination_url
from devstack.qstash.queues import Queue
from devstack.qstash.schedules import Schedule, Schedules
from devstack.qstash.signing import Keyring, random_text
from devstack.qstash.wire import ApiError, Reply, Request


class QueueCalls:
    def __init__(self, broker: Broker) -> None:
        self._queues = broker.queues

    def put(self, request: Request) -> Reply:
        asked = request.json() or {}
        queue = self._queues.get_or_create(str(asked.get("queueName") or ""))
        queue.configure(int(asked.get("parallelism") or 1), paused=bool(asked.get("paused")))
        return Reply()

    def list(self, _request: Request) -> Reply:
        return Reply([queue.as_json() for queue in self._queues.values()])

    def get(self, _request: Request, name: str) -> Reply:
        return Reply(self._queue(name).as_json())

    def delete(self, _request: Request, name: str) -> Reply:
        del self._queues[self._queue(name).name]
        return Reply()

    def switch(self, _request: Request, name: str, verb: str) -> Reply:
        queue = self._queue(name)
        queue.configure(queue.gate.control.parallelism or 1, paused=verb == "pause")
        return Reply()

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            raise ApiError(404, f"queue {name} not found")
        return self._queues[name]


class ScheduleCalls:
    def __init__(self, broker: Broker, schedules: Schedules, rng: random.Random) -> None:
        self._broker = broker
        self._schedules = schedules
        self._rng = rng

    def put(self, request: Request, destination: str) -> Reply:
        """Create a schedule; with the id of one that exists, replace it."""
        config = request.config
        schedule = Schedule(
            id=config.get("upstash-schedule-id") or "scd_" + random_text(self._rng, 28),
            url=destination_url(destination, request.destination_query),
            expression=config.get("upstash-cron", ""),
            body=request.body,
            instructions=parse_instructions(config),
            created_at_ms=self._broker.clock.now_ms(),
            queue=config.get("upstash-queue-name"),
        )
        self._schedules.put(schedule)
        return Reply({"scheduleId": schedule.id})

    def list(self, _request: Request) -> Reply:
        return Reply([schedule.as_json() for schedule in self._schedules.values()])

    def get(self, _request: Request, schedule_id: str) -> Reply:
        return Reply(self._schedule(schedule_id).as_json())

    def delete(self, _request: Request, schedule_id: str) -> Reply:
        if not self._schedules.remove(schedule_id):
            raise ApiError(404, f"schedule {schedule_id} not found")
        return Reply()

    def switch(self, _request: Request, schedule_id: str, verb: str) -> Reply:
        self._schedule(schedule_id).paused = verb == "pause"
        return Reply()

    def _schedule(self, schedule_id: str) -> Schedule:
        if schedule_id not in self._schedules:
            raise ApiError(404, f"schedule {schedule_id} not found")
        return self._schedules[schedule_id]


class FlowCalls:
    def __init__(self, broker: Broker) -> None:
        self._gates = broker.attempts.gates

    def list(self, _request: Request) -> Reply:
        return Reply([gate.as_json() for key, gate in self._gates.items() if key])

    def get(self, _request: Request, key: str) -> Reply:
        return Reply(self._gate(key).as_json())

    def switch(self, _request: Request, key: str, verb: str) -> Reply:
        gate = self._gates[key]  # a key may be paused before its first message
        gate.paused = verb == "pause"
        gate.admit()
        return Reply()

    def global_parallelism(self, _request: Request) -> Reply:
        in_flight = sum(gate.in_flight for gate in self._gates.values())
        return Reply({"parallelismMax": 0, "parallelismCount": in_flight})

    def _gate(self, key: str) -> FlowGate:
        if key not in self._gates:
            raise ApiError(404, f"flow control key {key} not found")
        return self._gates[key]


class KeyCalls:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def get(self, _request: Request) -> Reply:
        return Reply({"current": self._keyring.keys.current, "next": self._keyring.keys.next})

    def rotate(self, request: Request) -> Reply:
        self._keyring.rotate()
        return self.get(request)


class DevCalls:
    """What the real QStash has not: faults and counters."""

    def __init__(self, broker: Broker, schedules: Schedules, faults: Faults) -> None:
        self._broker = broker
        self._schedules = schedules
        self._faults = faults

    def get_faults(self, _request: Request) -> Reply:
        return Reply(self._faults.as_dict())

    def set_faults(self, request: Request) -> Reply:
        self._faults.update(request.json() or {})
        return self.get_faults(request)

    def clear_faults(self, request: Request) -> Reply:
        self._faults.clear()
        return self.get_faults(request)

    def state(self, _request: Request) -> Reply:
        return Reply(self.snapshot())

    def snapshot(self) -> Json:
        """Return the counters; `open` is 0 when no message is on its way any more."""
        counts, gates = self._broker.journal.counts, self._broker.attempts.gates
        names = ("published", "deduplicated", "dropped", "deliveries", "delivered", "retry", "failed")
        counters: dict[str, Any] = {
            name: counts[name] for name in (*names, "canceled", "callbacks", "revived")
        }
        return counters | {
            "open": len(self._broker.open),
            "dlq_size": len(self._broker.attempts.dead_letters),
            "schedules": len(self._schedules),
            "in_flight": {key: gate.in_flight for key, gate in gates.items()},
            "waiting": {key: gate.waiting for key, gate in gates.items()},
            "peak_in_flight": {key: gate.peak_in_flight for key, gate in gates.items()},
        }
