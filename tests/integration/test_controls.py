"""What an operator may set over the configured limits, and how it is kept: `shared/state/controls.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.controls import (
    CHANGES_KEPT,
    ControlKind,
    Controller,
    Controls,
    parse_controls,
    read_controls,
    recent_changes,
)
from shared.state.store import Store
from tests.integration.transitions_kit import Bench, poll

CHAT = Model.DEEPSEEK_CHAT
WHO: dict[str, Any] = {"by": "ada", "reason": "the provider is slow"}


@pytest.fixture
def controller(each_store: Store) -> Controller:
    return Controller(each_store)


def test_a_control_is_kept_with_who_set_it_why_and_for_how_long(
    controller: Controller, each_store: Store
) -> None:
    before = Bench(each_store).now_ms()
    controller.set_slots(CHAT, Tier.PAID, 3, **WHO, for_seconds=60)
    control = read_controls(each_store).slots["deepseek-chat:paid"]
    assert (control.value, control.by, control.reason) == (3, "ada", "the provider is slow")
    assert before <= control.since_ms <= Bench(each_store).now_ms()
    assert control.until_ms == control.since_ms + 60_000


def test_each_kind_of_control_is_set_and_cleared_without_touching_the_others(
    controller: Controller, each_store: Store
) -> None:
    controller.set_slots(CHAT, Tier.PAID, 3, **WHO)
    controller.set_places(Lane.PAID_STREAM, 0, **WHO)
    controller.stop(Lane.PAID_BATCH, **WHO)
    controller.drain(**WHO)
    held = read_controls(each_store)
    assert {name: c.value for name, c in held.slots.items()} == {"deepseek-chat:paid": 3}
    assert {lane: c.value for lane, c in held.places.items()} == {Lane.PAID_STREAM: 0}
    assert set(held.stopped) == {Lane.PAID_BATCH}
    assert held.draining is not None
    controller.clear_slots(CHAT, Tier.PAID, by="ada")
    controller.clear_places(Lane.PAID_STREAM, by="ada")
    controller.start(Lane.PAID_BATCH, by="ada")
    assert read_controls(each_store).draining == held.draining
    controller.resume(by="ada")
    held = read_controls(each_store)
    assert held == Controls(at_ms=held.at_ms)


def test_a_control_ends_by_itself(controller: Controller, each_store: Store) -> None:
    controller.stop(Lane.PAID_STREAM, **WHO, for_seconds=0.001)
    poll(lambda: not read_controls(each_store).stopped)


def test_what_holds_no_more_is_dropped_by_the_next_change(controller: Controller, each_store: Store) -> None:
    controller.stop(Lane.PAID_STREAM, **WHO, for_seconds=0.001)
    poll(lambda: not read_controls(each_store).stopped)
    controller.drain(**WHO)
    stored = json.loads(each_store.command("HGET", keys.QUEUE_RATES, keys.CONTROLS_FIELD))
    assert set(stored) == {"draining"}


def test_of_two_set_at_once_one_follows_the_other_and_both_are_remembered(store: Store) -> None:
    def set_one(value: int) -> None:
        Controller(store).set_slots(CHAT, Tier.PAID, value, by=f"operator {value}", reason="r")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(set_one, range(1, 9)))
    newest, *older = recent_changes(store)
    assert read_controls(store).slots["deepseek-chat:paid"] == newest.after
    assert len(older) == 7
    for later, earlier in zip([newest, *older], older, strict=False):
        assert later.before == earlier.after


def test_controls_of_different_names_set_at_once_are_all_there(store: Store) -> None:
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda lane: Controller(store).stop(lane, **WHO), Lane))
    assert set(read_controls(store).stopped) == set(Lane)


def test_a_change_tells_what_it_took_the_place_of(controller: Controller) -> None:
    first = controller.set_places(Lane.PAID_STREAM, 5, **WHO)
    second = controller.set_places(Lane.PAID_STREAM, 9, by="bob", reason="it holds")
    third = controller.clear_places(Lane.PAID_STREAM, by="ada", reason="over")
    assert (first.before, second.before, third.before) == (None, first.after, second.after)
    assert (third.kind, third.name, third.after) == (ControlKind.PLACES, "paid_stream", None)


def test_clearing_what_is_not_set_changes_nothing(controller: Controller, each_store: Store) -> None:
    change = controller.resume(by="ada")
    assert (change.before, change.after) == (None, None)
    assert recent_changes(each_store) == []
    assert each_store.command("EXISTS", keys.QUEUE_RATES) == 0


def test_only_the_last_changes_are_remembered(store: Store) -> None:
    controller = Controller(store)
    for value in range(CHANGES_KEPT + 3):
        controller.set_places(Lane.FREE_BATCH, value, **WHO)
    changes = recent_changes(store)
    assert len(changes) == CHANGES_KEPT
    assert changes[0].after is not None
    assert changes[0].after.value == CHANGES_KEPT + 2
    assert recent_changes(store, 1) == changes[:1]
    assert recent_changes(store, 0) == []


def test_a_lane_that_goes_on_is_measured_anew(store: Store) -> None:
    bench, controller = Bench(store), Controller(store)
    bench.finish(bench.run(bench.admit()))
    controller.stop(Lane.PAID_STREAM, **WHO)
    store.command("HSET", keys.QUEUE_RATES, "paid_stream:at", 1)
    change = controller.start(Lane.PAID_STREAM, by="ada")
    assert int(store.command("HGET", keys.QUEUE_RATES, "paid_stream:at")) == change.at_ms
    controller.stop(Lane.FREE_BATCH, **WHO)
    controller.start(Lane.FREE_BATCH, by="ada")
    assert store.command("HEXISTS", keys.QUEUE_RATES, "free_batch:at") == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c.set_slots(CHAT, Tier.PAID, 0, **WHO), "value"),
        (lambda c: c.set_places(Lane.PAID_STREAM, -1, **WHO), "value"),
        (lambda c: c.set_places(Lane.PAID_STREAM, 10_001, **WHO), "value"),
        (lambda c: c.stop(Lane.PAID_STREAM, by="ada", reason="  "), "reason"),
        (lambda c: c.stop(Lane.PAID_STREAM, by="ada", reason="r" * 201), "reason"),
        (lambda c: c.stop(Lane.PAID_STREAM, by="", reason="r"), "by"),
        (lambda c: c.stop(Lane.PAID_STREAM, by="a\x1b[0m", reason="r"), "by"),
        (lambda c: c.drain(**WHO, for_seconds=0), "for"),
        (lambda c: c.drain(**WHO, for_seconds=1e9), "for"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(
    store: Store, change: Callable[[Controller], object], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        change(Controller(store))
    assert refused.value.field == field
    assert read_controls(store).at_ms > 0
    assert recent_changes(store) == []


def test_whether_a_control_holds_is_decided_at_the_given_moment() -> None:
    text = '{"draining":{"all":{"value":1,"by":"a","reason":"r","sinceMs":1,"untilMs":10}}}'
    assert parse_controls(text, 9).draining is not None
    assert parse_controls(text, 10).draining is None
    assert parse_controls(None, 10).draining is None
