"""`usage`: what tasks used of the models, summed by model, tier, template, lane, day or user.

    journal ─▶ fold ─▶ sums by day ─▶ a table with a sum row, CSV or JSON

A step counts for the day, in UTC, on which it ended, done or not. What an attempt used counts as far as its
worker could tell: one that was killed, taken over or cancelled in mid-answer tells nothing.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from operations.opening import opened
from operations.words import console, duration, print_json, seconds_of, table
from shared.auth import is_user_id
from shared.state import keys
from shared.state.store import Store, clock_ms
from shared.state.sums import USER_DAYS, Used, fold, read_usage, read_users_usage

BY = ("model", "tier", "template", "lane", "day", "user")
SINCE = "7d"
MAX_DAYS = 3_660
"""Each day is a read of its own."""
SHOWN_HASH_LENGTH = 16


@dataclass(slots=True)
class Row:
    """What all steps of one kind used."""

    used: Used = field(default_factory=Used)
    cost_micros: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By currency, in millionths."""

    def add(self, used: Used, currency: str) -> None:
        self.used += used
        if currency:
            self.cost_micros[currency] += used.cost_micros

    def costs(self) -> dict[str, float]:
        return {currency: micros / 1_000_000 for currency, micros in sorted(self.cost_micros.items())}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "usage",
        help="tokens, cost and durations, summed",
        description="Sum what tasks used of the models: tokens in and out, and how many of those that went "
        "in were in the provider's cache; cost by the price table; durations. Days are of UTC, and a step "
        f"counts for the day on which it ended. By user, sums are kept for {USER_DAYS} days, under the "
        "SHA-256 of the user's id.",
        epilog="Exit status: 0 done; 2 wrong usage or configuration; 3 no Redis.",
    )
    parser.add_argument("--by", choices=BY, default="model", help="what a row is of (model)")
    parser.add_argument(
        "--since", default=SINCE, type=_moment, metavar="WHEN",
        help=f"a day (2026-11-20), or how long ago: 7d is today and the six days before ({SINCE})",
    )  # fmt: skip
    parser.add_argument("--until", type=_day, metavar="DAY", help="the last day (today)")
    parser.add_argument(
        "--user", type=_user, metavar="USER", help="of this user alone; with --by user or day"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="answer as JSON")
    form.add_argument("--csv", action="store_true", help="answer as CSV")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.user and options.by not in {"user", "day"}:
        options.wrong_usage("a user's sums are kept by day alone: use --user with --by user or --by day")
    with opened() as (store, _):
        until = options.until or _today(store)
        since = options.since(until)
        if since > until:
            options.wrong_usage(f"--since {since} is after --until {until}")
        if (until - since).days > MAX_DAYS:
            options.wrong_usage(f"from --since to --until are at most {MAX_DAYS} days")
        rows = read_rows(store, options.by, since, until, user=options.user)
    form: Callable[..., None] = _print_json if options.json else _print_csv if options.csv else _print
    form(options.by, rows, since, until)
    return 0


def read_rows(
    store: Store, by: str, since: dt.date, until: dt.date, *, user: str | None = None
) -> Mapping[str, Row]:
    """Return the sums from `since` to `until`, both among them, by what `by` names; up to now.

    Raises:
        StoreUnavailable: Redis did not answer.
    """
    fold(store)
    rows: dict[str, Row] = defaultdict(Row)
    for name, used, currency in _sums(store, by, since, until, user):
        rows[name].add(used, currency)
    return dict(sorted(rows.items()))


def _sums(
    store: Store, by: str, since: dt.date, until: dt.date, user: str | None
) -> Iterator[tuple[str, Used, str]]:
    if by == "user" or user:
        wanted = keys.user_hash(user) if user else None
        for each in read_users_usage(store, since, until):
            if wanted in {None, each.user}:
                yield str(each.day) if by == "day" else each.user, each.used, each.currency
        return
    for of_day in read_usage(store, since, until):
        yield str(getattr(of_day, by)), of_day.used, of_day.currency


def _print(by: str, rows: Mapping[str, Row], since: dt.date, until: dt.date) -> None:
    days = f"{since} to {until} (UTC)" if since != until else f"{since} (UTC)"
    if not rows:
        print(f"Nothing ended from {days}.")
        return
    numbers = ("tasks", "steps", "failed", "attempts", "tokens in", "cached", "tokens out", "cost")
    means = ("waiting", "first text", "latency")
    shown = table(by, *numbers, *means, right=(*numbers, *means), title=days)
    for name, row in rows.items():
        shown.add_row(name[:SHOWN_HASH_LENGTH] if by == "user" else name, *_cells(row))
    shown.add_section()
    shown.add_row(Text("sum", "bold"), *(Text(cell, "bold") for cell in _cells(_total(rows))))
    console().print(shown)
    print("Means: of a step's waiting, of its model's first text, of a task from admission to end.")


def _cells(row: Row) -> Iterator[str]:
    used = row.used
    yield from map(str, (used.tasks, used.steps, used.failed, used.attempts))
    yield from (f"{tokens:,}" for tokens in (used.tokens_in, used.tokens_cached, used.tokens_out))
    yield "\n".join(f"{cost:.4f} {currency}" for currency, cost in row.costs().items())
    yield duration(_mean(used.waited_ms, used.steps))
    yield duration(_mean(used.ttft_ms, used.ttft_steps))
    yield duration(_mean(used.latency_ms, used.tasks))


def _mean(total_ms: int, count: int) -> float | None:
    return total_ms / count if count else None


def _total(rows: Mapping[str, Row]) -> Row:
    total = Row()
    for row in rows.values():
        total.used += row.used
        for currency, micros in row.cost_micros.items():
            total.cost_micros[currency] += micros
    return total


def _print_json(by: str, rows: Mapping[str, Row], since: dt.date, until: dt.date) -> None:
    print_json(
        {
            "since": str(since),
            "until": str(until),
            "by": by,
            "rows": [{by: name, **_numbers(row), "cost": row.costs()} for name, row in rows.items()],
            "sum": {**_numbers(_total(rows)), "cost": _total(rows).costs()},
        }
    )


def _print_csv(by: str, rows: Mapping[str, Row], since: dt.date, until: dt.date) -> None:  # noqa: ARG001  # as the others
    """Print one line for each row, and no sum: whoever reads it adds up."""
    currencies = sorted(_total(rows).cost_micros)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([by, *_numbers(Row()), *(f"cost_{currency}" for currency in currencies)])
    for name, row in rows.items():
        costs = row.costs()
        writer.writerow([name, *_numbers(row).values(), *(f"{costs.get(c, 0):.6f}" for c in currencies)])


def _numbers(row: Row) -> dict[str, int]:
    return {name: getattr(row.used, name) for name in Used.__dataclass_fields__ if name != "cost_micros"}


def _today(store: Store) -> dt.date:
    return dt.datetime.fromtimestamp(clock_ms(store.command("TIME")) / 1000, dt.UTC).date()


def _moment(text: str) -> Callable[[dt.date], dt.date]:
    """Return the first day that is meant, by the last one."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        days = max(1, -(-int(seconds_of(text)) // 86_400))
        return lambda until: until - dt.timedelta(days=days - 1)
    return lambda _: day


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day like 2026-11-20") from None


def _user(text: str) -> str:
    if not is_user_id(text):
        raise argparse.ArgumentTypeError("no user id")
    return text
