"""`GET /metrics`: what Prometheus scrapes, computed from Redis alone, so that every instance says the same.

    fold the journal ─▶ sums (counters, histograms) ┐
    tallies (counters of what went another way)     ├─▶ families ─▶ text, or OpenMetrics if it is asked for
    overview (gauges)                               ┘

One scraped address is enough, however many instances answer behind it: nothing is counted in a process, so
nothing is lost when one ends, and no counter ever falls. Names are Prometheus' own way: base units, `_total`.
`docs/observability.md` lists them, and a test holds the two together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from shared.config import ConcurrencyConfig, Env
from shared.routing import ROUTES, Lane
from shared.state.overview import LaneView, Overview, SlotView, read_overview
from shared.state.store import Store
from shared.state.sums import (
    BOUNDS_MS,
    EndedSteps,
    Histogram,
    Sums,
    Timing,
    Used,
    fold,
    read_sums,
)
from shared.state.tallies import Tally, TallyCount, read_tallies

Labels = tuple[str, ...]
MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Exposition:
    """What a scrape is answered."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class State:
    """All that the metrics are made of, read at about one moment."""

    overview: Overview
    sums: Sums
    tallies: Sequence[TallyCount]


def read_state(store: Store, limits: ConcurrencyConfig, *, usage_days: int) -> State:
    """Fold what has ended since, and read everything.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    fold(store, usage_days=usage_days)
    return State(read_overview(store, limits), read_sums(store), read_tallies(store))


def render(state: State, limits: ConcurrencyConfig, env: Env, accept: str = "") -> Exposition:
    """Return `state` as text; as OpenMetrics when the `Accept` header asks for it."""
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(_Collected(families(state, limits, env))), content_type)


class _Collected:
    """Families in the place of a registry: an encoder asks for nothing else."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def families(state: State, limits: ConcurrencyConfig, env: Env) -> Iterator[Metric]:
    """Yield every metric there is."""
    yield InfoMetricFamily("sluice", "The deployment that answers.", {"env": env})
    yield from _queues(state.overview, limits)
    yield from _slots(state.overview, limits)
    yield from _tasks(state)
    yield from _ended(state.sums.ended)
    yield from map(_tallied(state.tallies), TALLIES)
    yield from map(_timed(state.sums.timings), _TIMINGS)


# -- gauges ------------------------------------------------------------------------------------------------


def _queues(overview: Overview, limits: ConcurrencyConfig) -> Iterator[Metric]:
    def by_lane(name: str, says: str, value: Callable[[LaneView], float]) -> Metric:
        return _gauge(name, says, ("lane",), {(view.lane,): value(view) for view in overview.lanes})

    yield by_lane("queue_steps", "Steps in a lane's queue, waiting and running.", lambda v: v.places_used)
    yield by_lane("queue_places", "Steps that its queue may hold now.", lambda v: v.places)
    yield by_lane(
        "queue_places_configured",
        "Steps that its queue may hold as configured.",
        lambda v: limits.places(v.lane),
    )
    yield by_lane(
        "queue_oldest_age_seconds",
        "How long the oldest step has been in the queue, waiting and running; 0 when it is empty.",
        lambda v: (v.oldest_ms or 0) / 1000,
    )
    yield by_lane("lane_stopped", "1 while an operator has stopped a lane.", lambda v: v.stopped is not None)
    yield _gauge("draining", "1 while nothing new is admitted.", (), {(): overview.draining is not None})


def _slots(overview: Overview, limits: ConcurrencyConfig) -> Iterator[Metric]:
    def by_pair(name: str, says: str, value: Callable[[SlotView], float]) -> Metric:
        values: dict[Labels, float] = {(view.model, view.tier): value(view) for view in overview.slots}
        return _gauge(name, says, ("model", "tier"), values)

    yield by_pair(
        "model_slots_used", "Attempts that hold a slot of a model and tier.", lambda v: len(v.holders)
    )
    yield by_pair(
        "model_slots",
        "Attempts that may hold one now.",
        lambda v: v.slots,
    )
    yield by_pair(
        "model_slots_configured",
        "Attempts that may hold one as configured.",
        lambda v: limits.slots(v.model, v.tier),
    )


# -- counters ----------------------------------------------------------------------------------------------


def _tasks(state: State) -> Iterator[Metric]:
    yield _gauge("tasks_open", "Tasks that have not ended.", (), {(): state.overview.open_tasks})
    overdue: dict[Labels, float] = {(): state.overview.overdue_tasks}
    yield _gauge("tasks_overdue", "Open tasks beyond their deadline, for the next sweep.", (), overdue)
    yield _counter("tasks_admitted", "Tasks that were admitted.", (), {(): state.sums.accepted_tasks})
    gaps = "Times the journal was cut before it was read: some ends are in no sum."
    yield _counter("journal_gaps", gaps, (), {(): state.sums.gaps})


def _ended(ended: Sequence[EndedSteps]) -> Iterator[Metric]:
    def sums(name: str, says: str, labels: str, value: Callable[[Used], int], per: int = 1) -> Metric:
        names = tuple(labels.split())
        # Whole numbers: a sum of fractions depends on their order, and a counter that falls by the last bit
        # of one has started anew, for whoever reads it.
        values = dict.fromkeys((tuple(map(kind.__getitem__, names)) for kind in _KINDS), 0)
        for steps in ended:
            named = tuple(getattr(steps, name) for name in names)
            values[named] = values.get(named, 0) + value(steps.used)
        return _counter(name, says, names, {named: total / per for named, total in values.items()})

    model = "lane model"
    yield sums("tasks_ended", "Tasks that ended.", "tier state", lambda used: used.tasks)
    yield sums("steps_ended", "Steps that ended.", "lane template model state", lambda used: used.steps)
    yield _failures(ended)
    yield sums("attempts", "Attempts at steps that have ended.", model, lambda used: used.attempts)
    yield sums("refunds", "Tasks that were refunded.", "lane", lambda used: used.refunds)
    yield sums("refunded_coins", "Coins given back.", "lane", lambda used: used.refunded_coins)
    yield sums("model_input_tokens", "Tokens sent to a model.", model, lambda used: used.tokens_in)
    cached = "Those among them that the provider had cached."
    yield sums("model_cached_input_tokens", cached, model, lambda used: used.tokens_cached)
    yield sums("model_output_tokens", "Tokens that a model answered.", model, lambda used: used.tokens_out)
    cost = "What the models cost by the price table, in its currency."
    yield sums("model_cost", cost, model, lambda used: used.cost_micros, per=MICROS)


_KINDS: Sequence[Mapping[str, str]] = [
    {"lane": route.lane, "model": route.model, "template": template, "tier": tier, "state": state}
    for (template, tier), route in ROUTES.items()
    for state in ("done", "failed", "cancelled")
]
"""What can end as what. A counter is there with 0 before the first: a rate misses what one is born with."""


def _failures(ended: Sequence[EndedSteps]) -> Metric:
    values = defaultdict[Labels, float](float)
    for steps in ended:
        if steps.code:
            values[steps.lane, steps.code] += steps.used.failed
    return _counter("steps_failed", "Steps that failed, by what went wrong.", ("lane", "code"), values)


@dataclass(frozen=True, slots=True)
class Tallied:
    """A tally as a metric: its name, its label, and the label's known values, which are there with 0."""

    name: str
    says: str
    label: str
    of_lanes: str = ""
    """Values that come with a lane."""
    of_none: str = ""
    """Values that come without one."""

    def family(self, counts: Iterable[TallyCount]) -> Metric:
        values: dict[Labels, float] = {
            (known, lane): 0.0
            for names, lanes in ((self.of_lanes, [*Lane]), (self.of_none, [""]))
            for known in names.split()
            for lane in lanes
        }
        values |= {(each.label, each.lane): each.total for each in counts}
        return _counter(self.name, self.says, (self.label, "lane"), values)


TALLIES: Mapping[Tally, Tallied] = {
    Tally.REFUSED: Tallied(
        "admissions_refused",
        "Requests that were not admitted.",
        "reason",
        "queue_full user_busy draining publish_failed",
        "mismatch rate_limited",
    ),
    Tally.REPLAY: Tallied(
        "requests_repeated", "Requests whose task was there already.", "by", "", "key under_way"
    ),
    Tally.CLAIM_REFUSED: Tallied(
        "claims_refused", "Deliveries that got no attempt.", "reason", "busy no_slot lane_stopped duplicate"
    ),
    Tally.TAKEOVER: Tallied(
        "takeovers", "Attempts whose lease had lapsed, taken over.", "outcome", "again exhausted"
    ),
    Tally.RETRY: Tallied("attempts_retried", "Attempts that were given back to be repeated.", "code"),
    Tally.REQUEUE: Tallied(
        "messages_requeued", "Messages that QStash gave up on.", "outcome", "publish failed"
    ),
    Tally.SWEEP: Tallied(
        "tasks_swept", "Tasks that were overdue and looked after.", "outcome", "publish lost wait_timeout"
    ),
}


def _tallied(tallies: Sequence[TallyCount]) -> Callable[[Tally], Metric]:
    return lambda kind: TALLIES[kind].family(each for each in tallies if each.kind == kind)


# -- histograms --------------------------------------------------------------------------------------------

_TIMINGS: Mapping[Timing, tuple[str, str]] = {
    Timing.WAITING: ("step_waiting_seconds", "How much of its waiting budget a step used that ran."),
    Timing.FIRST_TOKEN: (
        "step_first_token_seconds",
        "From an attempt's call of the model to its first text.",
    ),
    Timing.RUN: ("step_run_seconds", "How long the attempt ran that finished its step."),
}


def _timed(timings: Mapping[tuple[Timing, str, str], Histogram]) -> Callable[[Timing], Metric]:
    def family(timing: Timing) -> Metric:
        name, says = _TIMINGS[timing]
        made = HistogramMetricFamily(f"sluice_{name}", says, labels=("lane", "model"))
        for (kind, lane, model), histogram in sorted(timings.items()):
            if kind == timing:
                made.add_metric((lane, model), _buckets(histogram), histogram.sum_ms / 1000)
        return made

    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(f"{ms / 1000}" for ms in BOUNDS_MS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


def _gauge(name: str, says: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"sluice_{name}", says, labels=labels), values)


def _counter(name: str, says: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    return _filled(CounterMetricFamily(f"sluice_{name}", says, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Labels, float]) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, float(value))
    return family
