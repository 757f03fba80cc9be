"""A secret of tokens takes another's place while everybody works: nobody is refused at any moment of it.

A deployment changes one function after the other, so neighbours of two steps work side by side, in either order. The
steps are those of docs/configuration.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest

from shared.actions.app import Application
from shared.config import load_actions
from tests.integration.bridge.kit import BridgeProcess
from tests.integration.http.kit import JWT_SECRET, STREAM_SECRET, World
from tests.integration.http.stand_ins import serve

NEW_JWT = "a new secret of users' tokens, of thirty-two bytes and more"
NEW_STREAM = "a new secret of stream tokens, of thirty-two bytes and more"
Step = tuple[str, str]
"""The first secret and the second, which may be empty."""
USER_STEPS: Sequence[Step] = [(JWT_SECRET, ""), (JWT_SECRET, NEW_JWT), (NEW_JWT, JWT_SECRET), (NEW_JWT, "")]
STREAM_STEPS: Sequence[Step] = [
    (STREAM_SECRET, ""), (STREAM_SECRET, NEW_STREAM), (NEW_STREAM, STREAM_SECRET), (NEW_STREAM, ""),
]  # fmt: skip
LAST = len(STREAM_STEPS) - 1


def by(secret: str) -> dict[str, str]:
    token = jwt.encode({"sub": "ada", "exp": int(time.time()) + 600}, secret, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def start_actions(world: World) -> Iterator[Callable[..., str]]:
    """Start `actions` with variables of its own beside the one that runs; returns where it is served."""
    with ExitStack() as opened:

        def start(**environ: str) -> str:
            settings = load_actions({"QSTASH_URL": "http://127.0.0.1:1", **world.environ, **environ})
            application = Application(settings)
            opened.callback(application.store.close)
            return opened.enter_context(serve(application.answer))

        yield start


def test_no_user_is_refused_while_the_secret_of_their_tokens_is_replaced(
    world: World, start_actions: Callable[..., str]
) -> None:
    steps = [
        start_actions(AUTH_JWT_SECRET=first, AUTH_JWT_SECRET_SECOND=second) for first, second in USER_STEPS
    ]
    good = {
        secret: [world.http.get(f"{url}/quota", headers=by(secret)).status_code == 200 for url in steps]
        for secret in (JWT_SECRET, NEW_JWT)
    }
    # The issuer changes over while both are good everywhere: from one step to the next nobody loses anything.
    assert good == {JWT_SECRET: [True, True, True, False], NEW_JWT: [False, True, True, True]}


class Rollout:
    """A task, all versions of `actions` and `events` that a rotation goes through, and every token ever issued."""

    def __init__(
        self, task_id: str, actions: Sequence[str], events: Sequence[str], http: httpx.Client
    ) -> None:
        self.task_id = task_id
        self.actions = actions
        self.events = events
        self.http = http
        self.issued: dict[int, list[str]] = {step: [] for step in range(len(actions))}

    def issue(self, step: int) -> None:
        answer = self.http.get(f"{self.actions[step]}/tasks/{self.task_id}", headers=by(JWT_SECRET))
        parts = urlsplit(answer.json()["streamUrl"])
        self.issued[step].append(f"{parts.path}?{parts.query}")

    def opens(self, address: str, step: int) -> bool:
        status = self.http.head(self.events[step] + address).status_code
        assert status in {200, 401}
        return status == 200


@pytest.fixture
def rollout(world: World, start_actions: Callable[..., str], redis_url: str) -> Iterator[Rollout]:
    accepted: dict[str, Any] = world.start()[0]
    actions = [start_actions(STREAM_TOKEN_SECRET=first) for first, _ in STREAM_STEPS]
    with ExitStack() as opened:
        events = [
            opened.enter_context(
                BridgeProcess(redis_url, STREAM_TOKEN_SECRET=first, STREAM_TOKEN_SECRET_SECOND=second)
            ).url
            for first, second in STREAM_STEPS
        ]
        yield Rollout(accepted["taskId"], actions, events, world.http)


@pytest.mark.parametrize("first", ["actions", "events"])
def test_no_reader_is_refused_while_the_secret_of_stream_tokens_is_replaced(
    rollout: Rollout, first: str
) -> None:
    """Each step reaches both functions before the next begins; the last waits for the old tokens to expire."""
    actions = events = 0
    for step in range(LAST + 1):
        for function in (first, "events" if first == "actions" else "actions"):
            actions, events = (step, events) if function == "actions" else (actions, step)
            rollout.issue(actions)
            alive = [
                address
                for made, addresses in rollout.issued.items()
                for address in addresses
                if STREAM_STEPS[made][0] == NEW_STREAM or step < LAST
            ]
            assert [address for address in alive if not rollout.opens(address, events)] == []
    assert rollout.issued[0]
    assert not any(rollout.opens(address, LAST) for address in rollout.issued[0])
