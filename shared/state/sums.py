"""What the journal comes to: usage by day, and counts and histograms since ever.

    journal ─▶ fold ─▶ usage:{day}         by tier, template, model, lane and currency    USAGE_DAYS
                   ├─▶ usage:users:{day}   by user (SHA-256) and currency                 at most USER_DAYS
                   └─▶ sums                counts, and histograms of durations            for ever, small

`fold` reads the entries after the place to which the journal has been read, adds them up here, and hands
sums and the new place to one script, which refuses when the place has moved meanwhile. So each entry is
counted exactly once, by however many at once, and wherever one of them is killed. Called by the sweep, and
by whoever reads sums.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from typing import Any

from shared.state import keys
from shared.state.journal import BEGINNING, KEPT_MS, StepEnd, entries_after, parsed
from shared.state.scripts import load_script
from shared.state.store import Store
from shared.state.tallies import fold_tallies

log = logging.getLogger(__name__)

DEFAULT_USAGE_DAYS = 400
MAX_USAGE_DAYS = 36_500
USER_DAYS = 35
"""A user's sums are kept for so many days at most: for a month's bill, not for a history of a person."""
ENTRIES_AT_ONCE = 500
_DAY_MS = 86_400_000
BOUNDS_MS = (
    *(25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000),
    *(20_000, 30_000, 60_000, 120_000, 300_000, 600_000),
)
"""Upper bounds of the histograms' buckets; a last one takes what is above."""


class Timing(StrEnum):
    """A duration of which there is a histogram, for each lane and model."""

    WAITING = "waiting"
    """How much of its waiting budget a step used that ran."""
    FIRST_TOKEN = "first_token"  # noqa: S105  # a token of text
    """From an attempt's call of the model to its first text."""
    RUN = "run"
    """How long the attempt ran that finished its step."""


@dataclass(frozen=True, slots=True)
class Used:
    """What some steps came to. Durations and tokens are sums over them."""

    steps: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    tasks: int = 0
    """Tasks that ended with one of these steps."""
    attempts: int = 0
    refunds: int = 0
    refunded_coins: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    cost_micros: int = 0
    """Millionths of the currency."""
    waited_ms: int = 0
    run_ms: int = 0
    ttft_ms: int = 0
    """Of those that had a first text; `ttft_steps` is how many."""
    ttft_steps: int = 0
    latency_ms: int = 0
    """From admission to end, of the tasks that ended."""

    def __add__(self, other: Used) -> Used:
        return Used(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @classmethod
    def of(cls, end: StepEnd) -> Used:
        return cls(
            steps=1,
            done=end.state == "done",
            failed=end.state == "failed",
            cancelled=end.state == "cancelled",
            tasks=end.ended_task,
            attempts=end.attempts,
            refunds=end.refunded_coins > 0,
            refunded_coins=end.refunded_coins,
            tokens_in=end.tokens_in,
            tokens_out=end.tokens_out,
            tokens_cached=end.tokens_cached,
            cost_micros=end.cost_micros,
            waited_ms=end.waited_ms,
            run_ms=end.run_ms,
            ttft_ms=end.ttft_ms or 0,
            ttft_steps=end.ttft_ms is not None,
            latency_ms=end.latency_ms if end.ended_task else 0,
        )


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What one day's steps of one kind used."""

    day: dt.date
    """In UTC, by when the steps ended."""
    tier: str
    template: str
    model: str
    lane: str
    currency: str
    """Of `used.cost_micros`; empty when nothing is known to have been used."""
    used: Used


@dataclass(frozen=True, slots=True)
class UserUsage:
    """What one day's steps of one user used."""

    day: dt.date
    user: str
    """SHA-256, as `keys.user_hash` makes it."""
    currency: str
    used: Used


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations by bucket; the bounds are BOUNDS_MS."""

    counts: tuple[int, ...]
    """One more than there are bounds, each of its own bucket alone."""
    sum_ms: int

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class EndedSteps:
    """Steps that ended alike, since ever."""

    lane: str
    tier: str
    template: str
    model: str
    state: str
    code: str
    used: Used


@dataclass(frozen=True, slots=True)
class Sums:
    """What there has been since ever. Nothing here falls, but open tasks."""

    ended_tasks: int
    open_tasks: int
    ended: tuple[EndedSteps, ...]
    timings: Mapping[tuple[Timing, str, str], Histogram]
    """By timing, lane and model."""
    gaps: int
    """How often the journal was cut for its length before it was read: then some ends are not in the sums."""

    @property
    def accepted_tasks(self) -> int:
        """Every task that was ever admitted."""
        return self.ended_tasks + self.open_tasks


def fold(store: Store, *, usage_days: int | None = None) -> int:
    """Add up what the journal says since it was read last; return how many entries this call has added.

    `usage_days` is how long days are kept; None, as whoever said it last: the sweep says it, for all others.

    Raises:
        StoreUnavailable: what was added is added; the next call does the rest.
    """
    folded = 0
    while True:
        cursor = str(store.command("HGET", keys.SUMS, "cursor") or BEGINNING)
        entries = entries_after(store, cursor, ENTRIES_AT_ONCE)
        if entries and add(store, cursor, entries, usage_days):
            folded += len(entries)
        if len(entries) < ENTRIES_AT_ONCE:
            break
    fold_tallies(store)
    return folded


def add(store: Store, cursor: str, entries: Sequence[Any], usage_days: int | None = None) -> bool:
    """Add what follows `cursor` in the journal to the sums; False when somebody else has added these."""
    adding = _Adding()
    for end in parsed(entries):
        adding.add(end)
    request = {
        "cursor": cursor,
        "upTo": entries[-1][0],
        "adds": list(adding.requests()),
        "keptMs": KEPT_MS,
        "usageDays": usage_days,
        "defaultDays": DEFAULT_USAGE_DAYS,
    }
    key_list = [keys.JOURNAL, *adding.key_list()]
    answer = store.script(load_script("fold_journal"), key_list, [json.dumps(request)])
    return str(answer) == "folded"


class _Adding:
    """Numbers to be added, by key and field; the key of the sums comes first."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, list[int]]] = defaultdict(dict, {keys.SUMS: {}})
        self._days: dict[str, tuple[int, int]] = {}
        """When the day of a key ends, ms, and for how many days it is kept at most."""

    def add(self, end: StepEnd) -> None:
        used = list(map(int, astuple(Used.of(end))))
        day = dt.datetime.fromtimestamp(end.at_ms / 1000, dt.UTC).date().isoformat()
        of_day, of_users = keys.usage(day), keys.users_usage(day)
        self._put(of_day, (end.tier, end.template, end.model, end.lane, end.currency), used)
        self._put(of_users, (end.user, end.currency), used)
        day_end_ms = (end.at_ms // _DAY_MS + 1) * _DAY_MS
        self._days |= {of_day: (day_end_ms, MAX_USAGE_DAYS), of_users: (day_end_ms, USER_DAYS)}
        kind = ("ended", end.lane, end.tier, end.template, end.model, end.state, end.code)
        self._put(keys.SUMS, kind, used)
        self._put(keys.SUMS, ("tasks",), [int(end.ended_task)])
        for timing, ms in _timings(end):
            self._put(keys.SUMS, (timing, end.lane, end.model), _bucketed(ms))

    def _put(self, key: str, name: tuple[str, ...], numbers: list[int]) -> None:
        field = "|".join(name)
        known = self._numbers[key].get(field, [0] * len(numbers))
        self._numbers[key][field] = [a + b for a, b in zip(known, numbers, strict=True)]

    def key_list(self) -> list[str]:
        return list(self._numbers)

    def requests(self) -> Iterator[dict[str, Any]]:
        for key, numbers in self._numbers.items():
            day_end_ms, most_days = self._days.get(key, (None, None))
            yield {"fields": numbers, "dayEnd": day_end_ms, "mostDays": most_days}


def _timings(end: StepEnd) -> Iterator[tuple[Timing, int]]:
    if end.attempts > 0:
        yield Timing.WAITING, end.waited_ms
    if end.ttft_ms is not None:
        yield Timing.FIRST_TOKEN, end.ttft_ms
    if end.state == "done":
        yield Timing.RUN, end.run_ms


def _bucketed(ms: int) -> list[int]:
    counts = [0] * (len(BOUNDS_MS) + 1)
    counts[bisect_left(BOUNDS_MS, ms)] = 1
    return [*counts, ms]


def read_sums(store: Store) -> Sums:
    """Return what there has been since ever; fold first, to have it up to now.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    ended_tasks, open_tasks = store.script(
        load_script("count_tasks"), [keys.JOURNAL, keys.SUMS, keys.OPEN_TASKS], []
    )
    ended, timings, gaps = [], {}, 0
    for name, text in _pairs(store.command("HGETALL", keys.SUMS)):
        kind, *names = name.split("|")
        if kind == "ended":
            lane, tier, template, model, state, code = names
            ended.append(EndedSteps(lane, tier, template, model, state, code, _used(text)))
        elif kind in set(Timing):
            *counts, sum_ms = json.loads(text)
            timings[Timing(kind), names[0], names[1]] = Histogram(tuple(counts), sum_ms)
        elif kind == "gaps":
            gaps = int(text)
    return Sums(int(ended_tasks), int(open_tasks), tuple(ended), timings, gaps)


def read_usage(store: Store, since: dt.date, until: dt.date) -> list[DayUsage]:
    """Return what each day from `since` to `until`, both among them, used; fold first.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    found = []
    for day, flat in _days(store, since, until, users=False):
        for name, text in _pairs(flat):
            tier, template, model, lane, currency = name.split("|")
            found.append(DayUsage(day, tier, template, model, lane, currency, _used(text)))
    return found


def read_users_usage(store: Store, since: dt.date, until: dt.date) -> list[UserUsage]:
    """Return what each day from `since` to `until` used, by user; fold first.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    found = []
    for day, flat in _days(store, since, until, users=True):
        for name, text in _pairs(flat):
            user, currency = name.split("|")
            found.append(UserUsage(day, user, currency, _used(text)))
    return found


def _days(
    store: Store, since: dt.date, until: dt.date, *, users: bool
) -> Iterable[tuple[dt.date, Sequence[str]]]:
    days = [since + dt.timedelta(days=n) for n in range((until - since).days + 1)]
    key = keys.users_usage if users else keys.usage
    return zip(days, store.pipeline([("HGETALL", key(day.isoformat())) for day in days]), strict=True)


def _pairs(flat: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _used(text: str) -> Used:
    numbers = json.loads(text)
    return Used(*numbers) if len(numbers) == len(fields(Used)) else Used()
