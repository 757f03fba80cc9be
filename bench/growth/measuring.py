"""Every axis at every size, round after round: a database of one Valkey for each size that is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from bench.growth import answers, operations, streams
from bench.growth.clocks import cost_of
from bench.growth.crowds import have_ended, hold_slots, keep_ended, take_places
from bench.growth.curves import Bound, Curve
from bench.growth.lanes import LaneOfTasks
from devstack.valkey import EmbeddedValkey
from shared.state.erasure import erase_user
from shared.state.reconciliation import reconcile

Progress = Callable[[str], None]
PLACES = (10, 100, 1_000, 10_000)
ENDED = (1, 100, 10_000, 100_000)
HELD = (1, 8, 64, 512)
RECONCILED = PLACES[:3]
OF_A_USER = (1, 10, 100, 1_000)
TOKENS = (100, 500, 2_000, 15_000)
STREAMS = (1, 4, 16, 64)
DELETION = "deletion of a user"
RECONCILIATION = "reconciliation of all tasks"


@dataclass(slots=True)
class Series:
    """What each operation of one axis has cost so far."""

    axis: str
    bound: Bound
    units: Mapping[str, str]
    costs: dict[str, dict[int, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def note(self, size: int, costs: Mapping[str, float]) -> None:
        for operation, cost in costs.items():
            self.costs[operation][size].append(cost)

    def curves(self) -> Iterator[Curve]:
        for operation, points in self.costs.items():
            values = {size: tuple(costs) for size, costs in points.items()}
            yield Curve(self.axis, operation, self.units[operation], self.bound, values)


def measure_growth(progress: Progress, rounds: int) -> list[Curve]:
    """Return the curve of every operation on every axis."""
    with EmbeddedValkey() as valkey, ExitStack() as open_lanes:

        def lane(database: int) -> LaneOfTasks:
            return open_lanes.enter_context(closing(LaneOfTasks(valkey, database)))

        of_a_life = dict.fromkeys(operations.FLAT, "µs in Redis")
        places = Series("places taken in its queue", Bound.FLAT, of_a_life)
        held = Series("slots held", Bound.FLAT, of_a_life)
        ended = Series("ended tasks in Redis", Bound.FLAT, of_a_life)
        checked = Series("tasks in Redis", Bound.LINEAR, {RECONCILIATION: "µs in Redis"})
        users = Series("tasks of the user", Bound.LINEAR, {DELETION: "µs in Redis"})
        lengths = Series("tokens of the answer", Bound.LINEAR, answers.UNITS)
        crowd = Series("streams at once in a lane", Bound.FLAT, streams.UNITS)
        queues = _filled(progress, "places", PLACES, lane, take_places, first=0)
        stores = _filled(progress, "ended tasks", ENDED, lane, keep_ended, first=len(PLACES))
        holding = _filled(progress, "slots held", HELD, lane, hold_slots, first=len(PLACES) + len(ENDED))
        alone = lane(len(PLACES) + len(ENDED) + len(HELD))
        for number in range(rounds):
            said = f"round {number + 1} of {rounds}: "
            progress(said + checked.axis)
            _measure_reconciliations(checked, queues)
            for series, filled in ((places, queues), (ended, stores), (held, holding)):
                progress(said + series.axis)
                _measure_lives(series, filled)
            progress(said + users.axis)
            _measure_deletions(users, alone, number)
            progress(said + lengths.axis)
            for tokens in TOKENS:
                lengths.note(tokens, answers.costs_of_an_answer(alone, tokens))
            progress(said + crowd.axis)
            for count in STREAMS:
                crowd.note(count, streams.costs_of_streams(alone, count))
    return [
        curve for series in (places, ended, held, checked, users, lengths, crowd) for curve in series.curves()
    ]


def _filled(
    progress: Progress,
    what: str,
    sizes: Sequence[int],
    lane: Callable[[int], LaneOfTasks],
    fill: Callable[[LaneOfTasks, int], None],
    *,
    first: int,
) -> dict[int, LaneOfTasks]:
    """Return a lane of each size, each on a database of its own."""
    lanes: dict[int, LaneOfTasks] = {}
    for number, size in enumerate(sizes):
        progress(f"{size:,} {what}")
        lanes[size] = lane(first + number)
        fill(lanes[size], size)
    return lanes


def _measure_lives(series: Series, lanes: Mapping[int, LaneOfTasks]) -> None:
    for size, lane in lanes.items():
        series.note(size, operations.costs_of_a_life(lane))


def _measure_deletions(series: Series, lane: LaneOfTasks, number: int) -> None:
    for size in OF_A_USER:
        user = f"leaving-{number}-{size}"
        have_ended(lane, user, size)
        series.note(size, {DELETION: cost_of(lane.store, lambda: erase_user(lane.store, user)).script_us})  # noqa: B023 - called at once


def _measure_reconciliations(series: Series, lanes: Mapping[int, LaneOfTasks]) -> None:
    for size in RECONCILED:
        series.note(size, {RECONCILIATION: _reconciliation_us(lanes[size])})


def _reconciliation_us(lane: LaneOfTasks) -> float:
    limits = lane.settings

    def compare() -> None:
        reconcile(lane.store, concurrency=limits.concurrency, time=limits.time, stream=limits.stream)

    return cost_of(lane.store, compare).script_us
