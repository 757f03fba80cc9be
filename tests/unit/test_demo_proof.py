"""The demo's proof: where all is well every claim holds, and each thing that goes wrong fails its own claim."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from devstack.demo.board import Board, TurnedAway
from devstack.demo.client import Client, Frame, Refusal
from devstack.demo.proof import Proof
from devstack.demo.screen import PlainScreen
from devstack.demo.story import COINS, Outcomes, Story
from devstack.demo.tracking import Tracked
from devstack.demo.words import Words
from devstack.gauges import Gauges, Level
from devstack.stack import Stack
from shared.routing import ROUTES, Lane
from shared.state import keys
from shared.state.store import Store, TcpStore

WORDS = Words("en")
USER = "ann"


@dataclass
class Broker:
    open: int = 0
    dead: int = 0

    def state(self) -> dict[str, int]:
        return {"open": self.open, "dlq_size": self.dead}


@dataclass
class Models:
    state: dict[str, dict[str, int]] = field(default_factory=lambda: {"running": {"deepseek-chat": 0}})


@dataclass
class World:
    """What a proof asks: a stack that rests, a user's records, and a story that went as it should."""

    redis_url: str
    qstash: Broker = field(default_factory=Broker)
    llm: Models = field(default_factory=Models)
    places: dict[Lane, Level] = field(default_factory=lambda: dict.fromkeys(Lane, Level(0, 6)))
    open_tasks: int = 0
    slots_held: int = 0
    tasks: list[Tracked] = field(default_factory=list)
    stored: dict[str, str] = field(default_factory=dict)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    balance: int = COINS
    outcomes: Outcomes = field(default_factory=Outcomes)
    board: Board = field(default_factory=Board)

    def gauges(self) -> Gauges:
        slots = {(route.model, tier): Level(self.slots_held, 5) for (_, tier), route in ROUTES.items()}
        return Gauges(self.places, slots, self.open_tasks)

    def open_store(self) -> Store:
        return TcpStore(self.redis_url)

    def get(self, path: str) -> dict[str, Any]:
        if path == "/quota":
            return {"balance": self.balance, "ledger": self.ledger}
        return {"result": {"text": self.stored[path.removeprefix("/tasks/")]}}

    def failed(self) -> list[str]:
        """Return the claims that do not hold."""
        self.board.tasks = self.tasks
        stack, client = cast("Stack", self), cast("Client", self)
        screen = cast("PlainScreen", None)
        story = Story(stack, client, self.board, screen, WORDS, task_seconds=1, outcomes=self.outcomes)
        checks = Proof(stack, client, story, WORDS, USER, rest_seconds=0.0).checks()
        assert all(check.found and check.look for check in checks)
        return [check.claim for check in checks if not check.held]


def a_task(number: int, lane: Lane, *, text: str = "the whole text") -> Tracked:
    accepted = {"taskId": f"t{number}", "serviceId": "s", "isFree": lane.tier == "free"}
    task = Tracked(f"Task {number}", accepted, sent_at=0.0)
    for attempt in (1, 2):
        start = {"step": 0, "templateId": "job_match", "queueId": lane, "attempt": attempt}
        task.apply(Frame("1-0", "start", start), 1.0)
        task.apply(Frame("1-1", "token_batch", {"step": 0, "text": text, "offset": 0}), 2.0)
    task.apply(Frame("1-2", "done", {}), 3.0)
    return task


@pytest.fixture
def world(redis_url: str) -> World:
    world = World(redis_url)
    world.tasks = [a_task(number, lane) for number, lane in enumerate(Lane)]
    world.tasks[0].resumed = 1
    world.stored = {task.task_id: task.text for task in world.tasks}
    world.ledger = [{"kind": "grant", "delta": COINS, "balance": COINS}]
    for paid in (task for task in world.tasks if not task.is_free):
        world.balance -= 2
        world.ledger.append({"kind": "debit", "delta": -2, "balance": world.balance, "taskId": paid.task_id})
    full = Refusal(429, {"error": "queue_full", "retryAfter": 5})
    spent = COINS - world.balance
    world.outcomes = Outcomes(spent, replayed=True, killed=[world.tasks[0]], refused=full, tries=1)
    return world


def test_where_all_is_well_every_claim_holds(world: World) -> None:
    assert world.failed() == []


def not_done(world: World) -> None:
    world.tasks[0].state = "error"


def a_gap(world: World) -> None:
    world.tasks[0].problems.append("text at 3 after 1 code points")


def other_text(world: World) -> None:
    world.stored["t0"] = "another text"


def no_text(world: World) -> None:
    for task in world.tasks:
        task.steps[-1].text = ""


def a_lane_less(world: World) -> None:
    world.tasks[-1].steps[-1].lane = Lane.PAID_BATCH


def no_second_attempt(world: World) -> None:
    world.tasks[0].steps[-1].attempt = 1


def nobody_killed(world: World) -> None:
    world.outcomes.killed = []


def not_resumed(world: World) -> None:
    world.tasks[0].resumed = 0


def a_place_kept(world: World) -> None:
    world.places[Lane.FREE_BATCH] = Level(1, 6)


def a_slot_kept(world: World) -> None:
    world.slots_held = 1


def an_open_task(world: World) -> None:
    world.open_tasks = 1


def a_users_task(world: World) -> None:
    with contextlib.closing(TcpStore(world.redis_url)) as store:
        store.command("SADD", keys.active(USER), "t9")


def a_message(world: World) -> None:
    world.qstash.open = 1


def a_dead_letter(world: World) -> None:
    world.qstash.dead = 1


def a_call(world: World) -> None:
    world.llm.state["running"]["deepseek-chat"] = 1


def a_coin_gone(world: World) -> None:
    world.outcomes.spent -= 1


def a_line_gone(world: World) -> None:
    world.ledger[1]["delta"] = -1


def debited_twice(world: World) -> None:
    world.ledger.append({"kind": "debit", "delta": 0, "balance": world.balance, "taskId": "t0"})


def refunded(world: World) -> None:
    world.ledger.append({"kind": "refund", "delta": 0, "balance": world.balance, "taskId": "t0"})


def a_surprise(world: World) -> None:
    world.outcomes.surprises.append("free with 8 coins left")


def a_second_task(world: World) -> None:
    world.outcomes.replayed = False


def never_refused(world: World) -> None:
    world.outcomes.refused = None


def another_refusal(world: World) -> None:
    world.outcomes.refused = Refusal(429, {"error": "user_busy", "retryAfter": 5})


def no_time_told(world: World) -> None:
    world.outcomes.refused = Refusal(429, {"error": "queue_full"})


def still_outside(world: World) -> None:
    world.board.turned_away = TurnedAway("Match", 0.0)


DEFECTS: list[tuple[Callable[[World], None], str]] = [
    (not_done, "done"),
    (a_gap, "whole"),
    (other_text, "stored"),
    (no_text, "stored"),
    (a_lane_less, "lanes"),
    (no_second_attempt, "killed"),
    (nobody_killed, "killed"),
    (not_resumed, "resumed"),
    (a_place_kept, "queues"),
    (a_slot_kept, "slots"),
    (an_open_task, "pending"),
    (a_users_task, "pending"),
    (a_message, "broker"),
    (a_dead_letter, "broker"),
    (a_call, "calls"),
    (a_coin_gone, "balance"),
    (a_line_gone, "ledger"),
    (debited_twice, "debits"),
    (refunded, "debits"),
    (a_surprise, "tiers"),
    (a_second_task, "replay"),
    (never_refused, "full"),
    (another_refusal, "full"),
    (no_time_told, "full"),
    (still_outside, "full"),
]


@pytest.mark.parametrize(("defect", "claim"), DEFECTS, ids=[defect.__name__ for defect, _ in DEFECTS])
def test_what_goes_wrong_fails_its_own_claim_and_no_other(
    world: World, defect: Callable[[World], None], claim: str
) -> None:
    defect(world)
    assert world.failed() == [WORDS(f"claim.{claim}")]
