"""Tokens and cost of the last days by model, as bars of a chart and lines of a table."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.state.store import Store, clock_ms
from shared.state.sums import DayUsage, Used, fold, read_usage

DAYS = 14
_GAP = 0.25
"""Of a day's width, between two bars."""
_Amounts = Mapping[tuple[dt.date, str], float]
PLOT_WIDTH, PLOT_HEIGHT = 700.0, 180.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One model's part of one day, as a rectangle of the chart."""

    model: str
    series: int
    """Which colour it has: its model's place in the legend."""
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars, one for a day."""

    title: str
    most: str
    """What the full height stands for."""
    bars: tuple[Bar, ...]
    labels: tuple[tuple[float, str], ...]
    """Where on the axis which day stands."""


@dataclass(frozen=True, slots=True)
class ModelLine:
    """What one model came to, in one currency."""

    model: str
    series: int
    currency: str
    used: Used


@dataclass(frozen=True, slots=True)
class UsagePicture:
    """All that the page shows."""

    since: dt.date
    until: dt.date
    charts: tuple[Chart, ...]
    models: tuple[ModelLine, ...]


def read_chart(store: Store, days: int = DAYS) -> UsagePicture:
    """Return the usage of the last days up to now, today in UTC among them.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    fold(store)
    until = dt.datetime.fromtimestamp(clock_ms(store.command("TIME")) / 1000, dt.UTC).date()
    since = until - dt.timedelta(days=days - 1)
    return draw(read_usage(store, since, until), since, until)


def draw(rows: Sequence[DayUsage], since: dt.date, until: dt.date) -> UsagePicture:
    """Make charts and lines of what each day used."""
    series = {model: n for n, model in enumerate(sorted({row.model for row in rows}))}
    span = [since + dt.timedelta(days=n) for n in range((until - since).days + 1)]
    currencies = sorted({row.currency for row in rows if row.currency and row.used.cost_micros})
    charts = [
        _chart(
            "Cost", currency, _by_day(rows, lambda row: row.used.cost_micros / 1e6, currency), span, series
        )
        for currency in currencies
    ]
    tokens = _by_day(rows, lambda row: float(row.used.tokens_in + row.used.tokens_out))
    if any(tokens.values()):
        charts.append(_chart("Tokens", "tokens", tokens, span, series))
    return UsagePicture(since, until, tuple(charts), tuple(_lines(rows, series)))


def _by_day(
    rows: Sequence[DayUsage], amount: Callable[[DayUsage], float], currency: str | None = None
) -> _Amounts:
    amounts: defaultdict[tuple[dt.date, str], float] = defaultdict(float)
    for row in rows:
        if currency is None or row.currency == currency:
            amounts[row.day, row.model] += amount(row)
    return amounts


def _chart(
    title: str, unit: str, amounts: _Amounts, span: Sequence[dt.date], series: Mapping[str, int]
) -> Chart:
    totals = [sum(amounts.get((day, model), 0) for model in series) for day in span]
    most, width = max(totals), PLOT_WIDTH / len(span)
    bars: list[Bar] = []
    for n, day in enumerate(span):
        top = PLOT_HEIGHT
        for model, colour in series.items():
            amount = amounts.get((day, model), 0)
            if amount <= 0:
                continue
            height = amount / most * PLOT_HEIGHT
            top -= height
            told = f"{day.isoformat()} {model}: {_amount(amount, unit)}"
            x = (n + _GAP / 2) * width
            bars.append(Bar(model, colour, x, top, width * (1 - _GAP), height, told))
    labels = tuple(((n + 0.5) * width, f"{day.day} {day:%b}") for n, day in enumerate(span))
    return Chart(title, _amount(most, unit), tuple(bars), labels)


def _amount(amount: float, unit: str) -> str:
    digits = 0 if unit == "tokens" else 2 if amount >= 1 else 4
    return f"{amount:,.{digits}f} {unit}"


def _lines(rows: Sequence[DayUsage], series: Mapping[str, int]) -> Iterator[ModelLine]:
    used: defaultdict[tuple[str, str], Used] = defaultdict(Used)
    for row in rows:
        used[row.model, row.currency] += row.used
    for (model, currency), total in sorted(used.items()):
        yield ModelLine(model, series[model], currency, total)
