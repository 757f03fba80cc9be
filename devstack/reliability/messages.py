"""What QStash has sent and may send again: the stand-in's log, and calls of its API."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from devstack.frontend import until
from devstack.reliability.tally import Problem
from devstack.reliability.verdict import at_rest
from devstack.stack import Stack

IDLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as QStash first took it, and the states that it has been in since."""

    id: str
    url: str
    body: bytes
    states: frozenset[str]


@contextmanager
def faults(stack: Stack, **switches: Any) -> Iterator[None]:
    """Have QStash misbehave for the block."""
    stack.qstash.faults.update(switches)
    try:
        yield
    finally:
        stack.qstash.faults.clear()


def sent(stack: Stack, to: str, task_id: str = "") -> list[Sent]:
    """Return the messages to where the pattern `to` is found, about one task or any; oldest first."""
    states: dict[str, set[str]] = {}
    found = []
    for row in reversed(stack.qstash.events()):
        states.setdefault(row["messageId"], set()).add(row["state"])
        if row["state"] == "CREATED" and re.search(to, row["url"]):
            found.append((row["messageId"], row["url"], base64.b64decode(row["body"])))
    return [
        Sent(message_id, url, body, frozenset(states[message_id]))
        for message_id, url, body in found
        if task_id in ("", task_of(body))
    ]


def task_of(body: bytes) -> str | None:
    """Return which task a message or a callback is about."""
    message = json.loads(body) if body else {}
    if "sourceBody" in message:
        message = json.loads(base64.b64decode(message["sourceBody"]) or b"{}")
    found: str | None = message.get("taskId")
    return found


def wait_for(stack: Stack, to: str, task_id: str, *, state: str = "DELIVERED", count: int = 1) -> list[Sent]:
    """Wait until `count` messages to a destination have been in `state`, and return them."""

    def reached() -> list[Sent] | None:
        messages = [message for message in sent(stack, to, task_id) if state in message.states]
        return messages if len(messages) >= count else None

    return until(reached, f"{count} messages to {to} to be {state}")


def deliver_again(stack: Stack, *messages: Sent) -> None:
    """Have genuine copies of messages delivered, signed anew, as if QStash had forgotten that it did so."""
    for message in messages:
        _call(stack, "POST", f"/v2/publish/{message.url}", message.body, {"Upstash-Retries": "0"})


def forget(stack: Stack, *messages: Sent) -> None:
    """Have QStash lose messages that it was to deliver, again or at all."""
    for message in messages:
        _call(stack, "DELETE", f"/v2/messages/{message.id}")


def purge_dead_letters(stack: Stack) -> None:
    """Delete all dead letters, as an operator may who takes them for rubbish."""
    _call(stack, "DELETE", "/v2/dlq")


def switch_schedules(stack: Stack, verb: str) -> None:
    """`pause` or `resume` whatever QStash calls regularly."""
    for schedule in _call(stack, "GET", "/v2/schedules").json():
        _call(stack, "PATCH", f"/v2/schedules/{schedule['scheduleId']}/{verb}")


def all_at_rest(stack: Stack) -> list[Problem]:
    """Wait until no message is on its way and nothing is queued or running; return what stayed."""
    try:
        stack.qstash.wait_until_idle(IDLE_SECONDS)
    except TimeoutError as error:
        return [Problem("lost", str(error))]
    return at_rest(stack)


def _call(
    stack: Stack, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> httpx.Response:
    sent_headers = {"Authorization": f"Bearer {stack.qstash.token}", **(headers or {})}
    url = f"{stack.qstash.url}{path}"
    return httpx.request(method, url, content=body, headers=sent_headers).raise_for_status()
