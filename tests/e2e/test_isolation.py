"""A message signed for one lane is refused by all others, on the deployed processes (design §6, row 2)."""

from __future__ import annotations

import random
import time

import httpx
import pytest

from devstack.qstash.signing import Keyring
from devstack.stack import Stack
from shared.messages import TaskMessage
from shared.routing import ROUTES, Lane, Template, serves
from shared.state.keys import slots


@pytest.fixture
def stack(plain_stack: Stack) -> Stack:
    return plain_stack


def a_template(lane: Lane) -> Template:
    return next(template for template in Template if serves(lane, template))


def message_for(lane: Lane) -> bytes:
    template = a_template(lane)
    route = ROUTES[template, lane.tier]
    return TaskMessage(
        task_id="nothing",
        service_id="nothing",
        user_id="nobody",
        template_id=template,
        step=0,
        queue_id=lane,
        model_id=route.model,
        tier=lane.tier,
        counter_key=slots(route.model, lane.tier),
        locale="en",
        retries=0,
        enqueued_at=0,
    ).to_bytes()


def deliver(stack: Stack, *, to: Lane, signed_for: Lane | None) -> httpx.Response:
    """Deliver a valid message of lane `to` with a signature made for another lane's address, or none."""
    body = message_for(to)
    headers = {"Content-Type": "application/json"}
    if signed_for is not None:
        address = stack.url(signed_for) + signed_for.path(a_template(signed_for))
        keyring = Keyring(stack.qstash.signing_keys, random.Random(1))
        headers["Upstash-Signature"] = keyring.sign(address, body, now_seconds=time.time())
    return httpx.post(stack.url(to) + to.path(a_template(to)), content=body, headers=headers, timeout=60)


@pytest.mark.parametrize("to", Lane)
@pytest.mark.parametrize("signed_for", Lane)
def test_a_lane_takes_what_is_signed_for_it_and_nothing_else(
    stack: Stack, to: Lane, signed_for: Lane
) -> None:
    response = deliver(stack, to=to, signed_for=signed_for)
    if to is signed_for:
        assert response.status_code == 489  # accepted as QStash's; the task it names does not exist
        assert response.headers["Upstash-NonRetryable-Error"] == "true"
    else:
        assert response.status_code == 401


@pytest.mark.parametrize("to", Lane)
def test_a_lane_takes_nothing_unsigned(stack: Stack, to: Lane) -> None:
    response = deliver(stack, to=to, signed_for=None)
    assert response.status_code == 401
    assert response.json() == {"error": "bad_signature"}


@pytest.mark.parametrize("lane", Lane)
def test_d28_every_path_that_the_producer_builds_is_served(stack: Stack, lane: Lane) -> None:
    """D28: no route leads to an address that nobody answers."""
    for (template, _), route in ROUTES.items():
        if route.lane is lane:
            assert httpx.post(stack.url(lane) + lane.path(template), timeout=60).status_code == 401
        elif not serves(lane, template):
            assert httpx.post(stack.url(lane) + lane.path(template), timeout=60).status_code == 404
