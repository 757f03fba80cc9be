"""The usage chart: what it adds up, how high its bars are, and what it says of each."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.actions.ops.rendering import count, duration, money, short, spark
from shared.actions.ops.usage import PLOT_HEIGHT, PLOT_WIDTH, draw
from shared.state.sums import DayUsage, Used

UNTIL = dt.date(2026, 3, 14)
SINCE = UNTIL - dt.timedelta(days=13)


def day(
    ago: int,
    model: str = "deepseek-chat",
    *,
    cost: float = 0.0,
    tokens: int = 0,
    currency: str = "CNY",
    tier: str = "paid",
) -> DayUsage:
    used = Used(steps=1, done=1, tokens_in=tokens, cost_micros=round(cost * 1e6))
    date = UNTIL - dt.timedelta(days=ago)
    return DayUsage(date, tier, "job_match", model, "paid_stream", currency, used)


def test_bars_of_a_day_stand_on_each_other_and_the_highest_day_fills_the_chart() -> None:
    rows = [day(0, cost=1), day(0, "glm-4.5-flash", cost=2), day(0, cost=1, tier="free"), day(3, cost=1)]
    chart = draw(rows, SINCE, UNTIL).charts[0]
    assert (chart.title, chart.most) == ("Cost", "4.00 CNY")
    lower, upper = sorted((bar for bar in chart.bars if "03-14" in bar.title), key=lambda bar: -bar.y)
    assert (lower.y + lower.height, lower.y, upper.y) == (PLOT_HEIGHT, PLOT_HEIGHT / 2, 0)
    assert lower.title == "2026-03-14 deepseek-chat: 2.00 CNY"
    assert {bar.series for bar in chart.bars} == {0, 1}
    (other,) = [bar for bar in chart.bars if "03-11" in bar.title]
    assert other.height == PLOT_HEIGHT / 4
    assert other.x == lower.x - 3 * PLOT_WIDTH / 14


def test_there_is_a_chart_for_each_currency_and_one_of_tokens() -> None:
    rows = [day(0, cost=1, tokens=5), day(1, cost=0.5, currency="USD"), day(2, currency="", tokens=7)]
    charts = draw(rows, SINCE, UNTIL).charts
    assert [(chart.title, chart.most) for chart in charts] == [
        ("Cost", "1.00 CNY"),
        ("Cost", "0.5000 USD"),
        ("Tokens", "7 tokens"),
    ]
    assert [len(chart.bars) for chart in charts] == [1, 1, 2]
    assert [label for _, label in charts[0].labels][-1] == "14 Mar"
    assert len(charts[0].labels) == 14


def test_a_model_has_a_line_for_each_currency_over_all_days_tiers_and_templates() -> None:
    rows = [day(0, cost=1, tokens=5), day(9, cost=2, tokens=5, tier="free"), day(1, currency="USD")]
    lines = draw(rows, SINCE, UNTIL).models
    told = [(line.model, line.currency, line.used.steps, line.used.cost_micros) for line in lines]
    assert told == [("deepseek-chat", "CNY", 2, 3_000_000), ("deepseek-chat", "USD", 1, 0)]


def test_with_nothing_used_there_is_nothing_to_draw() -> None:
    empty = draw([], SINCE, UNTIL)
    assert (empty.charts, empty.models) == ((), ())
    free = draw([day(0)], SINCE, UNTIL)
    assert (free.charts, len(free.models)) == ((), 1)


@pytest.mark.parametrize(
    ("ms", "told"),
    [
        *[(None, "–"), (0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (59_900, "59.9 s"), (60_000, "1 min")],
        *[(90_000, "1.5 min"), (3_600_000, "1 h"), (129_600_000, "1.5 d")],
    ],
)
def test_a_duration_is_told_in_the_unit_that_people_would_use(ms: int | None, told: str) -> None:
    assert duration(ms) == told


def test_numbers_are_told_as_people_read_them() -> None:
    assert (count(1_234_567), money(0), money(3_600), money(1_234_560_000)) == (
        "1,234,567",
        "0.00",
        "0.0036",
        "1,234.56",
    )
    assert (short("abc"), short("0123456789abcdef")) == ("abc", "01234567…")


def test_a_line_of_numbers_rises_with_them_and_lies_flat_without() -> None:
    assert spark([0, 0, 0]) == "0.0,30.0 90.0,30.0 180.0,30.0"
    assert spark([0, 5, 10]) == "0.0,30.0 90.0,16.0 180.0,2.0"
