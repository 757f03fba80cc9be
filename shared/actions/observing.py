"""What `actions` tells of requests, admissions, publishes and sweeps, as spans and measurements; or nothing.

A request's span begins once it is known who asks, a user or QStash: what strangers send makes none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Request

from shared.errors import PublishFailed, SluiceError
from shared.messages import TaskMessage
from shared.routing import Action, Lane
from shared.state.lifecycle import Admission, Admitted
from shared.telemetry import instruments, spans
from shared.telemetry.attributes import Attribute
from shared.telemetry.calls import counted
from shared.telemetry.signals import NOBODYS, Attributes, Span, Value, signals

_ROUTES: Mapping[tuple[str, int], str] = {
    ("tasks", 2): "/tasks/{taskId}",
    ("tasks", 3): "/tasks/{taskId}/cancel",
    ("services", 2): "/services/{serviceId}",
    **{(name, 1): f"/{name}" for name in ("me", "quota", "resume", "services", "metrics", "openapi.json")},
}
"""Addresses by their first part and how many parts there are."""
_CALLBACKS = frozenset({"step", "failure", "sweep"})
Observed = AbstractContextManager[Span]
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})


def route_of(path: str) -> str | None:
    """Return an address with the names of ids in the place of ids; None for one that there is not."""
    parts = path.strip("/").split("/")
    match parts:
        case ["actions", name] if name in set(Action):
            return f"/actions/{name}"
        case ["callbacks", name] if name in _CALLBACKS:
            return f"/callbacks/{name}"
        case ["ops", *_]:
            return "/ops"
        case _:
            return _ROUTES.get((parts[0], len(parts)))


def answered(request: Request, status: int, began: float) -> None:
    """Measure a request of any kind; `began` is of the monotonic clock.

    What QStash asks for is the moment to send what has been taken: a user's answer waits for nothing.
    """
    route = route_of(request.path) if signals().on else None
    if route is None:
        return
    attributes: Attributes = {
        Attribute.METHOD: request.method if request.method in _METHODS else "_OTHER",
        Attribute.ROUTE: route,
        Attribute.STATUS: status,
        Attribute.SCHEME: request.scheme,
    }
    signals().record(instruments.REQUEST_DURATION, time.monotonic() - began, attributes)
    if route.startswith("/callbacks/"):
        signals().settle()


def action(name: str, parent: str | None) -> Observed:
    """Observe an action whose user is known; `parent` is the caller's `traceparent`."""
    return _request(f"/actions/{name}", parent, {Attribute.ACTION: name})


def accepted(span: Span, answer: Mapping[str, Any]) -> None:
    """Tell which task an action led to."""
    span.set(Attribute.TASK, answer["taskId"])


def callback(name: str, message: TaskMessage) -> Observed:
    """Observe what QStash reports of `message`, in the trace of its task."""
    about: Attributes = {Attribute.TASK: message.task_id, Attribute.STEP: message.step}
    return _request(f"/callbacks/{name}", message.traceparent, about)


def sweep() -> Observed:
    """Observe a sweep, which is a trace of its own."""
    return _request("/callbacks/sweep", None, {})


@contextmanager
def _request(route: str, parent: str | None, about: Attributes) -> Iterator[Span]:
    """Observe a request that changes something; the span says what it came to."""
    if not signals().on:
        yield NOBODYS
        return
    attributes = {Attribute.METHOD: "POST", Attribute.ROUTE: route, **about}
    span = signals().span(spans.REQUEST, f"POST {route}", attributes=attributes, parent=parent)
    with counted() as calls, span:
        try:
            yield span
            span.set(Attribute.STATUS, HTTPStatus.ACCEPTED if Attribute.ACTION in about else HTTPStatus.OK)
        except SluiceError as error:
            span.set(Attribute.STATUS, error.status)
            raise
        finally:
            span.set(Attribute.STORE_COMMANDS, calls.commands)
            signals().record(instruments.STORE_COMMANDS, calls.commands, {Attribute.ROUTE: route})


def decided(route: str, span: Span, outcome: str) -> None:
    """Tell what a callback came to, and count it."""
    span.set(Attribute.OUTCOME, outcome)
    signals().add(instruments.CALLBACKS, attributes={Attribute.ROUTE: route, Attribute.OUTCOME: outcome})


def admitted(span: Span, new: Admission, answer: Admitted) -> None:
    """Tell what an admission came to, and count it."""
    if not signals().on:
        return
    mine = answer.task_id in {None, new.ref.task_id}
    outcome = "accepted" if answer.status == "replay" and mine else answer.status
    steps = json.loads(answer.steps_json)
    told = {
        Attribute.ACTION: new.plan.action,
        Attribute.OUTCOME: outcome,
        Attribute.TIER: answer.tier,
        Attribute.LANE: answer.queue_id or (steps[0]["queueId"] if steps else None),
    }
    span.set(Attribute.TASK, answer.task_id)
    for name, value in told.items():
        span.set(name, value)
    signals().add(instruments.ADMISSIONS, attributes=told)


@contextmanager
def publish(lane: Lane, message_id: str, address: str, parent: str | None) -> Iterator[Span]:
    """Observe a publish to `lane` at `address`, below whatever is under way in the task's trace.

    Args:
        lane: where the message goes.
        message_id: `{task}.{step}.{n}`.
        address: QStash's.
        parent: the task's `traceparent`.
    """
    if not signals().on:
        yield NOBODYS
        return
    parts, (task_id, step, _) = urlsplit(address), message_id.rsplit(".", 2)
    told: dict[Attribute, Value] = {
        Attribute.MESSAGING: "qstash",
        Attribute.OPERATION: "publish",
        Attribute.DESTINATION: lane,
    }
    attributes = {
        **told,
        Attribute.OPERATION_TYPE: "send",
        Attribute.MESSAGE: message_id,
        Attribute.TASK: task_id,
        Attribute.STEP: int(step),
        Attribute.SERVER: parts.hostname,
        Attribute.PORT: parts.port or {"https": 443, "http": 80}.get(parts.scheme),
    }
    began, error = time.monotonic(), None
    try:
        with signals().span(spans.PUBLISH, f"publish {lane}", attributes=attributes, parent=parent) as span:
            yield span
    except PublishFailed as failed:
        error = failed.code
        raise
    finally:
        told[Attribute.ERROR] = error
        signals().add(instruments.SENT, attributes=told)
        signals().record(instruments.SEND_DURATION, time.monotonic() - began, told)
