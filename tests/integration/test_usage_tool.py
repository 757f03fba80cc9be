"""`scripts/sluice usage`: what tasks used, summed, as an operator reads it."""

from __future__ import annotations

import csv
import io

import pytest

from shared.routing import CREATE_SERVICE_IMAGE, UPLOAD_RESUME
from shared.state import keys
from shared.state.store import Store
from tests.integration.test_journal import SOME, finish
from tests.integration.tool_kit import Ran, call
from tests.integration.transitions_kit import Bench


@pytest.fixture
def bench(store: Store) -> Bench:
    """Of ada: two steps of one task, done, and a cancelled task. Of bob: a résumé, on its second attempt."""
    bench = Bench(store)
    job = bench.admit("ada", CREATE_SERVICE_IMAGE)
    finish(bench, bench.run(job))
    finish(bench, bench.run(job, step=1))
    bench.cancel(bench.admit("ada"))
    job = bench.admit("bob", UPLOAD_RESUME)
    bench.tasks.release(bench.run(job), code="c", message="m", retry_after_seconds=1, usage=SOME)
    finish(bench, bench.run(job), SOME)
    return bench


def usage(redis_url: str, *arguments: str) -> Ran:
    return call("usage", *arguments, REDIS_URL=redis_url)


def test_usage_up_to_now_is_summed_by_model(bench: Bench, redis_url: str) -> None:
    """No sweep has come: whoever looks folds first."""
    told = usage(redis_url, "--json").json
    rows = {row["model"]: row for row in told["rows"]}
    assert set(rows) == {"deepseek-chat", "deepseek-reasoner", "glm-4.1v-thinking-flash"}
    reasoner, chat = rows["deepseek-reasoner"], rows["deepseek-chat"]
    assert (reasoner["steps"], reasoner["done"], reasoner["cancelled"], reasoner["tasks"]) == (2, 1, 1, 2)
    assert (reasoner["tokens_in"], reasoner["tokens_out"], reasoner["tokens_cached"]) == (900, 100, 512)
    assert reasoner["cost"] == {"CNY": 0.0024}
    assert (chat["attempts"], chat["tokens_in"], chat["cost"]) == (2, 180, {"CNY": 0.000402})
    assert told["sum"]["steps"] == 4
    assert told["sum"]["cost"] == {"CNY": 0.005202}


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("tier", ["paid"]),
        ("template", ["job_match", "job_vision_summary", "resume_summary"]),
        ("lane", ["paid_batch", "paid_stream", "paid_vision"]),
        ("user", sorted([keys.user_hash("ada"), keys.user_hash("bob")])),
    ],
)
def test_usage_is_summed_by_whatever_is_asked_for(
    bench: Bench, redis_url: str, by: str, names: list[str]
) -> None:
    told = usage(redis_url, "--by", by, "--json").json
    assert [row[by] for row in told["rows"]] == names
    assert sum(row["steps"] for row in told["rows"]) == told["sum"]["steps"] == 4


def test_one_users_usage_is_found_by_the_id_and_shows_only_its_hash(bench: Bench, redis_url: str) -> None:
    ran = usage(redis_url, "--by", "user", "--user", "ada", "--json")
    (row,) = ran.json["rows"]
    assert (row["user"], row["tasks"], row["refunded_coins"]) == (keys.user_hash("ada"), 2, 2)
    assert '"ada"' not in ran.out
    (day,) = usage(redis_url, "--by", "day", "--user", "bob", "--json").json["rows"]
    assert day["tasks"] == 1
    assert usage(redis_url, "--by", "user", "--user", "nobody", "--json").json["rows"] == []


def test_the_table_ends_with_a_sum_and_the_currency(bench: Bench, redis_url: str) -> None:
    lines = usage(redis_url).out.splitlines()
    (total,) = [line for line in lines if line.split()[:1] == ["sum"]]
    assert "0.0052 CNY" in total
    assert "1,980" in total


def test_csv_has_a_line_for_each_row_and_a_column_for_each_currency(bench: Bench, redis_url: str) -> None:
    rows = list(csv.DictReader(io.StringIO(usage(redis_url, "--by", "model", "--csv").out)))
    assert [row["model"] for row in rows] == ["deepseek-chat", "deepseek-reasoner", "glm-4.1v-thinking-flash"]
    assert (rows[1]["tokens_in"], rows[1]["cost_CNY"]) == ("900", "0.002400")


def test_costs_in_different_currencies_are_not_added(bench: Bench, redis_url: str) -> None:
    finish(bench, bench.run(bench.admit("bob")), {"cost": 2.5, "currency": "USD"})
    told = usage(redis_url, "--by", "tier", "--json").json
    assert told["rows"][0]["cost"] == {"CNY": 0.005202, "USD": 2.5}


def test_only_the_days_asked_for_are_summed(bench: Bench, redis_url: str) -> None:
    assert usage(redis_url, "--until", "2020-01-02", "--json").json["rows"] == []
    asked = usage(redis_url, "--since", "2020-01-01", "--until", "2020-01-02", "--json").json
    assert (asked["since"], asked["until"]) == ("2020-01-01", "2020-01-02")
    assert usage(redis_url, "--until", "2020-01-07", "--since", "7d", "--json").json["since"] == "2020-01-01"
    assert usage(redis_url, "--until", "2020-01-07", "--since", "1h", "--json").json["since"] == "2020-01-07"
    assert usage(redis_url, "--since", "2020-01-01", "--until", "2020-01-02").out == (
        "Nothing ended from 2020-01-01 to 2020-01-02 (UTC).\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--since", "7x"], "'7x' is no duration like 90s, 15m, 2h or 7d"),
        (["--until", "7d"], "'7d' is no day like 2026-11-20"),
        (
            ["--since", "2020-01-03", "--until", "2020-01-02"],
            "--since 2020-01-03 is after --until 2020-01-02",
        ),
        (["--since", "30000d"], "at most"),
        (["--by", "model", "--user", "ada"], "use --user with --by user or --by day"),
        (["--by", "month"], "invalid choice: 'month'"),
        (["--csv", "--json"], "not allowed with"),
    ],
)
def test_wrong_usage_says_what_is_wrong(redis_url: str, arguments: list[str], says: str) -> None:
    ran = usage(redis_url, *arguments)
    assert ran.status == 2
    assert says in ran.err
