"""What the overview costs Redis, for how many it is read once, and what it says of the last hour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.actions.ops.looking import HOUR_MS, LastHour, Watch, median_and_p95
from shared.config import get_concurrency_config
from shared.errors import StoreUnavailable
from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.overview import MODEL_TIERS
from shared.state.store import Arg, Script, Store, clock_ms

LIMITS = get_concurrency_config({})
ENTRY: dict[str, Any] = {
    "taskId": "t",
    "user": "u",
    "tier": "paid",
    "action": "create-service",
    "lane": "paid_stream",
    "template": "job_match",
    "model": "deepseek-reasoner",
    "step": 0,
    "state": "done",
    "last": True,
    "code": "",
    "attempts": 1,
    "waitedMs": 5,
    "runMs": 900,
    "ttftMs": 300,
    "latencyMs": 1000,
    "in": 7,
    "out": 5,
    "cached": 0,
    "costMicros": 20,
    "currency": "CNY",
    "refunded": 0,
}


class CountingStore:
    """A store that counts what is sent through it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commands: list[str] = []
        self.round_trips = 0
        self.is_away = False

    def command(self, *args: Arg) -> Any:
        return self.pipeline([args])[0]

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        self.commands += [str(command[0]) for command in commands]
        self.round_trips += bool(commands)
        if self.is_away:
            raise StoreUnavailable
        return self._store.pipeline(commands)

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        raise AssertionError("looking runs no script")

    def close(self) -> None:
        self._store.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def now_ms(store: Store) -> int:
    return clock_ms(store.command("TIME"))


def end(store: Store, ms_ago: int, **facts: Any) -> None:
    """Note that a step ended some time ago."""
    at = now_ms(store) - ms_ago
    store.command("XADD", keys.JOURNAL, f"{at}-*", "e", json.dumps({**ENTRY, "at": at, **facts}))


def run_one(store: Store, task_id: str) -> None:
    """Leave what a running attempt has: a record and a slot."""
    steps = json.dumps(
        [{"templateId": "job_match", "queueId": "paid_stream", "modelId": "deepseek-reasoner"}]
    )
    fields = {"userId": "ada", "serviceId": "s", "action": "create-service", "tier": "paid", "steps": steps}
    fields |= {"state": "running", "step": "0", "attempt": "1", "createdAt": "1", "refunded": "0"}
    store.command("HSET", keys.task(task_id), *(part for pair in fields.items() for part in pair))
    slot = keys.slots(Model.DEEPSEEK_REASONER, Tier.PAID)
    store.command("ZADD", slot, now_ms(store) + 60_000, f"{task_id}:0:1")


# -- what it costs ----------------------------------------------------------------------------------------------------


def test_a_refresh_costs_few_commands_and_few_round_trips(store: Store) -> None:
    counting = CountingStore(store)
    watch = Watch(counting, LIMITS)
    watch.picture()
    counting.commands, counting.round_trips = [], 0
    watch.picture(fresh=True)
    assert len(counting.commands) <= 3 + 2 * len(Lane) + len(MODEL_TIERS) + 4
    assert counting.round_trips <= 4


def test_what_runs_costs_one_command_each_and_no_round_trip_each(store: Store) -> None:
    counting = CountingStore(store)
    watch = Watch(counting, LIMITS)
    watch.picture()
    counting.commands = []
    watch.picture(fresh=True)
    idle, trips = len(counting.commands), counting.round_trips
    for n in range(4):
        run_one(store, f"t{n}")
    counting.commands, counting.round_trips = [], 0
    assert len(watch.picture(fresh=True).running) == 4
    assert len(counting.commands) == idle + 4
    assert counting.round_trips <= trips


def test_it_is_read_once_for_all_who_look_within_a_second(store: Store) -> None:
    counting, clock = CountingStore(store), Clock()
    watch = Watch(counting, LIMITS, clock)
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda _: watch.picture(), range(16)))
    assert len({id(picture) for picture in pictures}) == 1
    sent = len(counting.commands)
    clock.now += 0.9
    watch.picture()
    assert len(counting.commands) == sent
    clock.now += 0.2
    watch.picture()
    assert len(counting.commands) > sent


def test_a_change_is_seen_by_the_next_look(store: Store) -> None:
    watch = Watch(store, LIMITS, Clock())
    first = watch.picture()
    watch.forget()
    assert watch.picture() is not first


def test_with_redis_away_who_waited_for_a_failure_does_not_wait_for_another(store: Store) -> None:
    counting, clock = CountingStore(store), Clock()
    watch = Watch(counting, LIMITS, clock)
    counting.is_away = True

    def look() -> bool:
        with pytest.raises(StoreUnavailable):
            watch.picture()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: look(), range(16)))
    assert counting.round_trips == 1
    counting.is_away = False
    clock.now += 1
    assert watch.picture()


# -- the last hour ----------------------------------------------------------------------------------------------------


def test_each_end_is_read_once_and_forgotten_after_an_hour(store: Store) -> None:
    counting, hour = CountingStore(store), LastHour()
    for ago in (HOUR_MS + 60_000, HOUR_MS - 60_000, 1_000):
        end(store, ago)
    now = now_ms(store)
    assert len(hour.read(counting, now)) == 2
    end(store, 0)
    counting.commands = []
    assert len(hour.read(counting, now)) == 3
    assert counting.commands == ["XRANGE"]
    assert len(hour.read(counting, now + 120_000)) == 2
    assert len(hour.read(counting, now + HOUR_MS)) <= 1


def test_a_lanes_hour_has_its_ends_by_minute_and_the_time_to_its_first_token(store: Store) -> None:
    for ttft in range(100, 2_100, 100):
        end(store, 3 * 60_000 + 100, ttftMs=ttft)
    end(store, 200, lane="free_stream")
    end(store, 100, state="failed", code="invalid_output", ttftMs=None)
    panels = {panel.lane: panel.hour for panel in Watch(store, LIMITS).picture().lanes}
    paid = panels[Lane.PAID_STREAM]
    assert (paid.ended, paid.failed) == (21, 1)
    assert (paid.by_minute[-1], paid.by_minute[-4], sum(paid.by_minute)) == (1, 20, 21)
    assert paid.first_token_ms
    assert paid.first_token_ms[0] == 1_050
    assert paid.first_token_ms[1] == pytest.approx(1_905)
    assert panels[Lane.FREE_STREAM].ended == 1
    assert panels[Lane.PAID_BATCH].first_token_ms is None


def test_what_was_refused_is_told_by_reason_and_whom(store: Store) -> None:
    minute = now_ms(store) // 60_000
    for kind, label, count, at in (
        ("refused", "queue_full", 3, minute),
        ("claim_refused", "no_slot", 7, minute - 1),
        ("claim_refused", "busy", 2, minute - 120),
        ("retry", "provider_error", 9, minute),
    ):
        store.command("HINCRBY", keys.TALLIES, f"{kind}|{label}|paid_stream|{at}", count)
    hours = {panel.lane: panel.hour for panel in Watch(store, LIMITS).picture().lanes}
    assert hours[Lane.FREE_STREAM].refused == ()
    assert hours[Lane.PAID_STREAM].refused == (("delivery no_slot", 7), ("admission queue_full", 3))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([7], (7, 7)),
        ([1, 3], (2, pytest.approx(2.9))),
        (range(1, 101), (50.5, pytest.approx(95.05))),
    ],
)
def test_median_and_95th_percentile(values: Sequence[float], expected: object) -> None:
    assert median_and_p95(values) == expected
