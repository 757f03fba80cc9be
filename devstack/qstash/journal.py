"""What happened: the log that `/v2/events` shows, newest first, and the counters of `/dev/state`."""

from __future__ import annotations

import base64
from collections import Counter, deque
from enum import StrEnum
from typing import Any

from devstack.qstash.message import Json, Message

KEPT_EVENTS = 10_000


class LogState(StrEnum):
    CREATED = "CREATED"
    ACTIVE = "ACTIVE"
    RETRY = "RETRY"
    ERROR = "ERROR"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class Journal:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._events: deque[Json] = deque(maxlen=KEPT_EVENTS)

    def record(self, message: Message, state: LogState, time_ms: int, **facts: Any) -> None:
        """Note that `message` reached `state`; `facts` are the event's further fields."""
        event = message.as_json() | {"time": time_ms, "state": str(state)} | facts
        # The log names some things otherwise than the messages do.
        event["body"] = base64.b64encode(message.body).decode()
        event.pop("bodyBase64", None)
        event["retryDelayExpr"] = event.pop("retryDelayExpression", None)
        event["callbackHeaders"] = event.pop("callbackHeader", None)
        event["failureCallbackHeaders"] = event.pop("failureCallbackHeader", None)
        self._events.appendleft({name: value for name, value in event.items() if value is not None})
        self.counts[state.lower()] += 1

    def events(self) -> list[Json]:
        return list(self._events)
