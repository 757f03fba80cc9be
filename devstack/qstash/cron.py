"""Five-field cron expressions in numbers: lists, ranges and steps, an optional `CRON_TZ=…` before them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART = re.compile(r"(\*|\d+(?:-\d+)?)(?:/(\d+))?")
_LEAP_CYCLE_DAYS = 8 * 366


@dataclass(frozen=True, slots=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    any_day: bool
    any_weekday: bool
    zone: dt.tzinfo

    def next_after(self, now_seconds: float) -> float:
        """Return the first matching minute after `now_seconds`, both in seconds since the epoch.

        Raises:
            ValueError: there is none, as for the 30th of February.
        """
        now = dt.datetime.fromtimestamp(now_seconds, self.zone)
        for moment in self._moments(now):
            if moment > now:
                return moment.timestamp()
        raise ValueError("this cron expression never matches")

    def _moments(self, now: dt.datetime) -> Iterator[dt.datetime]:
        for offset in range(_LEAP_CYCLE_DAYS):
            day = now.date() + dt.timedelta(days=offset)
            if not self._matches(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    yield dt.datetime.combine(day, dt.time(hour, minute), self.zone)

    def _matches(self, day: dt.date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        # Cron's own rule: when both are restricted, either is enough.
        return (by_day and by_weekday) if self.any_day or self.any_weekday else (by_day or by_weekday)


def parse_cron(expression: str) -> Cron:
    """Parse a cron expression.

    Raises:
        ValueError: it is not one, or it never matches.
    """
    fields = expression.split()
    zone: dt.tzinfo = dt.UTC
    if fields and fields[0].startswith("CRON_TZ="):
        zone = _zone(fields.pop(0).removeprefix("CRON_TZ="))
    if len(fields) != len(_RANGES):
        raise ValueError(f"invalid cron expression: {expression!r}")
    values = [_field(field, *bounds) for field, bounds in zip(fields, _RANGES, strict=True)]
    minutes, hours, days, months, weekdays = values
    cron = Cron(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        any_day=fields[2] == "*",
        any_weekday=fields[4] == "*",
        zone=zone,
    )
    cron.next_after(0)
    return cron


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"invalid time zone: {name!r}") from error


def _field(text: str, low: int, high: int) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in _part(part, low, high))


def _part(text: str, low: int, high: int) -> range:
    match = _PART.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid cron field: {text!r}")
    span, step = match[1], int(match[2] or 1)
    first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
    start, stop = int(first), int(last or (high if match[2] else first))
    if not low <= start <= stop <= high or step < 1:
        raise ValueError(f"invalid cron field: {text!r}")
    return range(start, stop + 1, step)
