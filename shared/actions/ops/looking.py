"""What the overview shows, gathered from Redis in a few commands, once for all who look within a second.

The last hour comes from the journal: each entry is read once and kept in this process until it is an hour
old, so that a refresh asks only for what has ended since the last one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from shared.errors import StoreUnavailable
from shared.routing import Lane, models_of
from shared.settings import ConcurrencyConfig
from shared.state.controls import Change, recent_changes
from shared.state.journal import StepEnd, entries_after, parsed
from shared.state.overview import Holder, LaneView, Overview, SlotView, read_overview
from shared.state.store import Store
from shared.state.tallies import Tally, TallyCount, read_tallies
from shared.state.task_lines import TaskLine, overdue_tasks, read_lines

HOUR_MS = 3_600_000
MINUTES = 60
SHARED_SECONDS = 1.0
"""How long what was gathered is shown to whoever asks next."""
CHANGES_SHOWN = 8
OVERDUE_SHOWN = 20
_ENTRIES_AT_ONCE = 1000
_ENTRIES_KEPT = 50_000
"""Of an hour, at most: beyond it the oldest go, and the hour is shorter than one."""


@dataclass(frozen=True, slots=True)
class Hour:
    """One lane's last hour."""

    ended: int
    failed: int
    by_minute: tuple[int, ...]
    """Steps that ended, oldest minute first."""
    first_token_ms: tuple[float, float] | None
    """Median and 95th percentile of the time to the first token; None when there was no text."""
    refused: tuple[tuple[str, int], ...]
    """Admissions and deliveries that were refused, by reason, the most frequent first."""


@dataclass(frozen=True, slots=True)
class LanePanel:
    """One lane, with all that is shown of it."""

    view: LaneView
    slots: tuple[SlotView, ...]
    hour: Hour

    @property
    def lane(self) -> Lane:
        return self.view.lane


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that holds a slot, and its task."""

    line: TaskLine
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one moment."""

    overview: Overview
    lanes: tuple[LanePanel, ...]
    running: tuple[Running, ...]
    overdue: tuple[TaskLine, ...]
    changes: tuple[Change, ...]

    @property
    def at_ms(self) -> int:
        return self.overview.at_ms


class LastHour:
    """The steps that ended within the last hour, read from the journal as they come."""

    def __init__(self) -> None:
        self._ends: deque[StepEnd] = deque(maxlen=_ENTRIES_KEPT)
        self._last_id: str | None = None

    def read(self, store: Store, now_ms: int) -> Sequence[StepEnd]:
        """Return them, oldest first."""
        after = self._last_id or f"{now_ms - HOUR_MS}-0"
        while entries := entries_after(store, after, _ENTRIES_AT_ONCE):
            self._ends.extend(parsed(entries))
            after = self._last_id = str(entries[-1][0])
            if len(entries) < _ENTRIES_AT_ONCE:
                break
        while self._ends and self._ends[0].at_ms < now_ms - HOUR_MS:
            self._ends.popleft()
        return tuple(self._ends)


@dataclass
class Watch:
    """Gathers pictures; one for all who look within a second. Thread-safe.

    With Redis away the same goes for the failure: whoever waited for it does not wait for one of their own.
    """

    store: Store
    limits: ConcurrencyConfig
    clock: Callable[[], float] = time.monotonic
    _hour: LastHour = field(default_factory=LastHour)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: Picture | StoreUnavailable | None = None
    _at: float = 0.0

    def picture(self, *, fresh: bool = False) -> Picture:
        """Return everything as it is now, or was within the last second unless it must be `fresh`.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        with self._lock:
            if fresh or self._last is None or self.clock() - self._at >= SHARED_SECONDS:
                try:
                    self._last = self._gather()
                except StoreUnavailable as error:
                    self._last = error
                self._at = self.clock()
            if isinstance(self._last, StoreUnavailable):
                raise StoreUnavailable from self._last
            return self._last

    def forget(self) -> None:
        """Gather anew when somebody looks next: something has been changed."""
        with self._lock:
            self._last = None

    def _gather(self) -> Picture:
        overview = read_overview(self.store, self.limits)
        ends = self._hour.read(self.store, overview.at_ms)
        tallies = read_tallies(self.store)
        holders = {holder.task_id: holder for slot in overview.slots for holder in slot.holders}
        lines = read_lines(self.store, list(holders))
        late = overview.overdue_tasks
        overdue = overdue_tasks(self.store, overview.at_ms, OVERDUE_SHOWN) if late else []
        return Picture(
            overview=overview,
            lanes=tuple(_panel(view, overview, ends, tallies) for view in overview.lanes),
            running=tuple(_running(lines, holders)),
            overdue=tuple(overdue),
            changes=tuple(recent_changes(self.store, CHANGES_SHOWN)),
        )


def _running(lines: Iterable[TaskLine], holders: dict[str, Holder]) -> list[Running]:
    running = [Running(line, holders[line.ref.task_id].lease_ms) for line in lines]
    return sorted(running, key=lambda each: each.line.created_at_ms)


def _panel(
    view: LaneView,
    overview: Overview,
    ends: Sequence[StepEnd],
    tallies: Sequence[TallyCount],
) -> LanePanel:
    slots = (s for s in overview.slots if s.model in models_of(view.lane) and s.tier is view.lane.tier)
    return LanePanel(
        view=view,
        slots=tuple(slots),
        hour=_hour_of(view.lane, ends, tallies, overview.at_ms),
    )


def _hour_of(lane: Lane, ends: Sequence[StepEnd], tallies: Sequence[TallyCount], now_ms: int) -> Hour:
    mine = [end for end in ends if end.lane == lane]
    by_minute = [0] * MINUTES
    for end in mine:
        by_minute[min(MINUTES - 1, max(0, MINUTES - 1 - (now_ms - end.at_ms) // 60_000))] += 1
    refused = {
        f"{_SAID[Tally(tally.kind)]} {tally.label}": tally.last_hour
        for tally in tallies
        if tally.lane == lane and tally.kind in _SAID and tally.last_hour
    }
    return Hour(
        ended=len(mine),
        failed=sum(end.state == "failed" for end in mine),
        by_minute=tuple(by_minute),
        first_token_ms=median_and_p95([end.ttft_ms for end in mine if end.ttft_ms is not None]),
        refused=tuple(sorted(refused.items(), key=lambda each: (-each[1], each[0]))),
    )


_SAID = {Tally.REFUSED: "admission", Tally.CLAIM_REFUSED: "delivery"}
"""What of it was refused, by the tally that counts it."""


def median_and_p95(values: Sequence[float]) -> tuple[float, float] | None:
    """Return both, or None when there is nothing to take them of."""
    if not values:
        return None
    if len(values) == 1:
        return values[0], values[0]
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
