"""What a lane tells of its deliveries, as spans and measurements; nothing while that is off.

    delivery ─▶ claim ─▶ attempt ─▶ written, ending ─▶ the answer is told

What it tells of its requests to models is `shared.llm.observing`'s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared.config import LaneSettings
from shared.errors import SluiceError
from shared.logs import also, trace_facts
from shared.messages import TaskMessage
from shared.routing import templates_of
from shared.state.lifecycle import Attempt, Claim
from shared.stream.publisher import AttemptWriter
from shared.telemetry import instruments, spans
from shared.telemetry.attributes import Attribute
from shared.telemetry.calls import Calls, counted
from shared.telemetry.ends import task_done, task_failed
from shared.telemetry.signals import Span, signals
from shared.telemetry.spans import SpanSpec

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What QStash calls a message; the header is not signed, and anything else may be a text."""
LEFT = "left_to_its_lease"
"""What becomes of an attempt that could not be given back, since Redis was away."""
_WAITS = frozenset({"busy", "no_slot", "lane_stopped"})
"""Claims that are refused for now."""
_ENDS = {"wait_timeout": "wait_timeout", "exhausted": "attempts_exhausted"}
"""Claims that end the task, and how it ends."""
Tell = Callable[[int, Mapping[str, Any]], None]
"""Takes an answer's status and body."""


def _tell_nobody(_status: int, _body: Mapping[str, Any]) -> None: ...


@contextmanager
def delivery(message: TaskMessage, message_id: str | None, began_ns: int) -> Iterator[Tell]:
    """Observe a delivery of `message` that began at `began_ns`; the block tells its answer."""
    if not signals().on:
        yield _tell_nobody
        return
    lane = message.queue_id
    attributes = {
        Attribute.MESSAGING: "qstash",
        Attribute.OPERATION: "process",
        Attribute.OPERATION_TYPE: "process",
        Attribute.DESTINATION: lane,
        Attribute.MESSAGE: message_id if message_id and _ID.fullmatch(message_id) else None,
        Attribute.TASK: message.task_id,
        Attribute.STEP: message.step,
        Attribute.LANE: lane,
        Attribute.TIER: message.tier,
        Attribute.TEMPLATE: message.template_id,
        Attribute.AI_MODEL: message.model_id,
    }
    span = signals().span(
        spans.PROCESS,
        f"process {lane}",
        attributes=attributes,
        parent=message.traceparent,
        began_ns=began_ns,
    )
    with counted() as calls:
        try:
            with span:
                also(**trace_facts(span.traceparent))
                yield from _told(span, calls)
        finally:
            route = {Attribute.ROUTE: lane.path(message.template_id)}
            signals().record(instruments.STORE_COMMANDS, calls.commands, route)
            signals().settle()


def _told(span: Span, calls: Calls) -> Iterator[Tell]:
    """Have a delivery's answer told, or the error that is to become it."""
    try:
        yield _answered(span)
    except SluiceError as error:
        span.set(Attribute.STATUS, error.status)
        raise
    finally:
        span.set(Attribute.STORE_COMMANDS, calls.commands)


def _answered(span: Span) -> Tell:
    def tell(status: int, body: Mapping[str, Any]) -> None:
        span.set(Attribute.STATUS, status)
        span.set(Attribute.OUTCOME, body.get("status", LEFT))
        if error := body.get("error"):
            span.fail(error)

    return tell


def request(settings: LaneSettings, method: str, path: str, status: int, began: float) -> None:
    """Measure a request of any kind; `began` is of the monotonic clock."""
    if not signals().on:
        return
    known = any(path == settings.lane.path(template) for template in templates_of(settings.lane))
    attributes = {
        Attribute.METHOD: method if method in {"GET", "HEAD", "POST"} else "_OTHER",
        Attribute.ROUTE: path if known else None,
        Attribute.STATUS: status,
        Attribute.SCHEME: settings.route_url.partition(":")[0],
    }
    signals().record(instruments.REQUEST_DURATION, time.monotonic() - began, attributes)


def claim(span: Span, message: TaskMessage, made: Claim) -> None:
    """Tell what a claim came to."""
    span.set(Attribute.OUTCOME, made.status)
    lane = {Attribute.LANE: message.queue_id}
    if made.status in _WAITS:
        signals().add(instruments.CLAIM_REFUSALS, attributes={**lane, Attribute.REASON: made.status})
    if code := _ENDS.get(made.status):
        task_failed(code, message.tier)
    if made.attempt is None:
        return
    waited_seconds = made.waited_ms / 1000
    span.set(Attribute.ATTEMPT, made.attempt.number)
    span.set(Attribute.QUEUE_WAIT, waited_seconds)
    signals().record(instruments.QUEUE_WAIT, waited_seconds, {**lane, Attribute.TIER: message.tier})
    if made.took_over:
        signals().add(instruments.TAKEOVERS, attributes=lane)


@contextmanager
def attempt(made: Attempt, slots: int) -> Iterator[Tell]:
    """Observe an attempt, one of `slots` at once; the block tells the answer that it came to."""
    if not signals().on:
        yield _tell_nobody
        return
    pair = {Attribute.AI_MODEL: made.model, Attribute.TIER: made.tier}
    running = {Attribute.LANE: made.lane, **pair}
    signals().record(instruments.SLOTS, slots, pair)
    signals().add(instruments.RUNNING, 1, running)
    name = f"{made.ref.task_id}:{made.step}:"
    span = signals().span(
        spans.ATTEMPT,
        attributes={Attribute.ATTEMPT: made.number},
        identity=f"{name}{made.number}",
        follows=f"{name}{made.number - 1}" if made.number > 1 else "",
    )
    began = time.monotonic()
    try:
        with span:
            yield lambda _status, body: _came_to(span, made, began, body)
    finally:
        signals().add(instruments.RUNNING, -1, running)


def _came_to(span: Span, made: Attempt, began: float, body: Mapping[str, Any]) -> None:
    outcome, error = body.get("status", LEFT), body.get("error")
    span.set(Attribute.OUTCOME, outcome)
    if error:
        span.fail(error)
    lane = {Attribute.LANE: made.lane, Attribute.OUTCOME: outcome}
    signals().add(instruments.ATTEMPTS, attributes={**lane, Attribute.ERROR: error})
    signals().record(instruments.ATTEMPT_DURATION, time.monotonic() - began, lane)
    if outcome == "failed":
        task_failed(error or "internal", made.tier)
    elif outcome == "done" and made.is_last_step:
        task_done(made.tier)


def first_token(made: Attempt, milliseconds: int | None) -> None:
    """Measure how long an attempt took to its first visible token."""
    if milliseconds is not None and signals().on:
        told = {Attribute.LANE: made.lane, Attribute.AI_MODEL: made.model}
        signals().record(instruments.FIRST_TOKEN, milliseconds / 1000, told)


@contextmanager
def ending(spec: SpanSpec) -> Iterator[Callable[[str], str]]:
    """Observe the transition that ends an attempt; the block tells what it answered."""
    with signals().span(spec) as span:

        def tell(status: str) -> str:
            span.set(Attribute.OUTCOME, status)
            return status

        yield tell


@contextmanager
def written(writer: AttemptWriter) -> Iterator[None]:
    """Tell, at the end, of all that `writer` wrote within the block."""
    try:
        yield
    finally:
        sums = writer.sums
        if sums.writes and signals().on:
            attributes = {
                Attribute.WRITES: sums.writes,
                Attribute.TOKENS: sums.tokens,
                Attribute.BYTES: sums.bytes,
                Attribute.LONGEST_WRITE: sums.longest_seconds,
            }
            signals().past(spans.WRITE, sums.began_ns, sums.ended_ns, attributes)
