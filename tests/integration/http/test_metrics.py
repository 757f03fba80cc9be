"""`GET /metrics`: the numbers are right, the same everywhere, never fall, and cost few round trips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from shared.actions.metrics import families, read_state
from shared.config import get_concurrency_config
from shared.errors import PermanentTaskError, RetryableTaskError
from shared.routing import Lane, Model, Tier
from shared.settings import Env
from shared.state import keys
from shared.state.controls import Controller
from shared.state.store import Store, open_store
from tests.integration.http.kit import JOB, World, user_token
from tests.integration.http.stand_ins import failing

TOKEN = "a token of operators alone, of thirty-two bytes and more"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> Iterator[World]:
    with World(redis_url, tmp_path, {"OPS_TOKEN": TOKEN, "TASK_RETRIES": "0"}) as world:
        yield world


def scrape(world: World, **headers: str) -> str:
    answer = world.http.get(f"{world.actions_url}/metrics", headers={**BEARER, **headers})
    assert answer.status_code == 200
    return answer.text


def numbers(text: str) -> Numbers:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def number(world: World, name: str, **labels: str) -> float:
    return numbers(scrape(world)).get((f"sluice_{name}", tuple(sorted(labels.items()))), 0.0)


# Who may


def test_only_an_operator_may_scrape(world: World) -> None:
    url = f"{world.actions_url}/metrics"
    for headers, status in (
        ({}, 401),
        ({"Authorization": f"Bearer {user_token('ada')}"}, 401),
        (BEARER, 200),
    ):
        assert world.http.get(url, headers=headers).status_code == status
    assert world.http.post(url, headers=BEARER).status_code == 405
    assert world.http.get(f"{url}/more", headers=BEARER).status_code == 404


def test_without_an_operators_token_there_is_no_such_address(redis_url: str, tmp_path: Path) -> None:
    with World(redis_url, tmp_path) as world:
        assert world.http.get(f"{world.actions_url}/metrics", headers=BEARER).status_code == 404


# What it says


def test_a_scrape_is_prometheus_text_and_openmetrics_when_it_is_asked_for(world: World) -> None:
    world.with_resume()
    url = f"{world.actions_url}/metrics"
    plain = world.http.get(url, headers=BEARER)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert numbers(plain.text)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    modern = world.http.get(url, headers={**BEARER, **accept})
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")
    told = {family.name for family in parse_openmetrics(modern.text)}  # type: ignore[no-untyped-call]
    same = {family.name for family in text_string_to_metric_families(plain.text)}
    assert told ^ same == {"sluice", "sluice_info"}  # each form has its own way with an info's name


def test_every_name_has_a_help_a_base_unit_and_the_ending_of_its_type(world: World) -> None:
    world.with_resume()
    for family in text_string_to_metric_families(scrape(world)):
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"sluice(_[a-z]+)*", family.name), family.name
        assert not re.search(r"_(ms|millis|minutes|kb)\b", family.name), family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_what_waits_and_what_runs_is_seen(world: World) -> None:
    _, publish = world.start()
    assert number(world, "queue_steps", lane="paid_batch") == 1
    assert number(world, "tasks_open") == 1
    assert number(world, "model_slots_used", model="deepseek-chat", tier="paid") == 0
    world.claim(publish)
    assert number(world, "model_slots_used", model="deepseek-chat", tier="paid") == 1
    assert number(world, "queue_oldest_age_seconds", lane="paid_batch") > 0
    assert number(world, "queue_oldest_age_seconds", lane="free_batch") == 0


def test_a_limit_that_an_operator_has_set_stands_beside_the_configured_one(world: World) -> None:
    controller = Controller(world.store)
    controller.set_slots(Model.DEEPSEEK_CHAT, Tier.PAID, 1, by="ada", reason="try")
    controller.set_places(Lane.PAID_BATCH, 7, by="ada", reason="try")
    controller.stop(Lane.FREE_BATCH, by="ada", reason="try")
    controller.drain(by="ada", reason="try")
    pair = {"model": "deepseek-chat", "tier": "paid"}
    assert (number(world, "model_slots", **pair), number(world, "model_slots_configured", **pair)) == (1, 5)
    assert number(world, "queue_places", lane="paid_batch") == 7
    assert number(world, "queue_places_configured", lane="paid_batch") == 100
    assert [number(world, "lane_stopped", lane=lane) for lane in ("free_batch", "paid_batch")] == [1, 0]
    assert number(world, "draining") == 1


def test_a_task_that_is_done_is_counted_with_its_tokens_and_its_times(world: World) -> None:
    world.with_match()
    lane = {"lane": "paid_stream", "model": "deepseek-reasoner"}
    assert number(world, "tasks_admitted_total") == 2
    assert number(world, "tasks_ended_total", tier="paid", state="done") == 2
    assert number(world, "steps_ended_total", **lane, template="job_match", state="done") == 1
    assert number(world, "attempts_total", **lane) == 1
    assert number(world, "model_input_tokens_total", **lane) > 0
    assert number(world, "model_output_tokens_total", **lane) > 0
    assert number(world, "model_cost_total", **lane) > 0
    assert number(world, "journal_gaps_total") == 0
    for histogram in ("step_waiting_seconds", "step_run_seconds"):
        assert number(world, f"{histogram}_count", **lane) == 1
        assert number(world, f"{histogram}_bucket", **lane, le="+Inf") == 1


def test_what_an_alert_counts_is_there_with_zero_before_the_first(world: World) -> None:
    """A rate misses what a counter is born with."""
    born = numbers(scrape(world))
    for name, labels in (
        ("steps_ended_total", {"lane": "free_batch", "template": "job_vision_summary", "model": "glm-4.1v-thinking-flash", "state": "failed"}),
        ("tasks_ended_total", {"tier": "free", "state": "cancelled"}),
        ("admissions_refused_total", {"reason": "publish_failed", "lane": "paid_vision"}),
        ("takeovers_total", {"outcome": "again", "lane": "paid_stream"}),
        ("tasks_swept_total", {"outcome": "lost", "lane": "free_stream"}),
        ("messages_requeued_total", {"outcome": "failed", "lane": "paid_batch"}),
    ):  # fmt: skip
        assert born[f"sluice_{name}", tuple(sorted(labels.items()))] == 0


def test_a_histograms_buckets_grow_and_end_with_its_count(world: World) -> None:
    world.with_match()
    for family in text_string_to_metric_families(scrape(world)):
        if family.type != "histogram":
            continue
        by_labels: dict[Any, list[tuple[float, float]]] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                labels = tuple((k, v) for k, v in sample.labels.items() if k != "le")
                by_labels.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        assert by_labels or family.name == "sluice_step_first_token_seconds"
        for buckets in by_labels.values():
            assert buckets == sorted(buckets)
            assert [value for _, value in buckets] == sorted(value for _, value in buckets)


def test_what_fails_is_refused_repeated_or_refunded_is_counted(world: World) -> None:
    world.start(key="k")
    world.start(key="k")
    assert number(world, "requests_repeated_total", by="key", lane="") == 1
    _, publish = world.start(user="bob")
    world.model.acts.append(failing(PermanentTaskError("provider_refused", "It refused.")))
    world.deliver(publish)
    assert number(world, "tasks_ended_total", tier="paid", state="failed") == 1
    assert number(world, "steps_failed_total", lane="paid_batch", code="provider_refused") == 1
    assert number(world, "refunds_total", lane="paid_batch") == 1
    assert number(world, "refunded_coins_total", lane="paid_batch") == 1
    world.deliver(publish)
    assert number(world, "claims_refused_total", reason="duplicate", lane="paid_batch") == 1


def test_an_attempt_that_is_repeated_is_counted_by_its_code(redis_url: str, tmp_path: Path) -> None:
    with World(redis_url, tmp_path, {"OPS_TOKEN": TOKEN}) as world:
        _, publish = world.start()
        world.model.acts.append(failing(RetryableTaskError("timeout", "Too long.")))
        world.deliver(publish)
        assert number(world, "attempts_retried_total", code="timeout", lane="paid_batch") == 1


def test_nobody_is_named(world: World) -> None:
    accepted, publish = world.start(user="ada-the-user")
    world.finish(publish)
    text = scrape(world)
    assert "ada-the-user" not in text
    assert accepted["taskId"] not in text
    assert keys.user_hash("ada-the-user") not in text


# How it behaves


def test_two_instances_say_the_same_and_counters_never_fall(
    world: World, redis_url: str, tmp_path: Path
) -> None:
    with World(redis_url, tmp_path / "other", {"OPS_TOKEN": TOKEN}) as other, ThreadPoolExecutor(4) as pool:
        world.with_resume()
        before = counters(scrape(world))
        _, publish = world.start("create-service", {"jobText": JOB})
        scraped = [pool.submit(scrape, each) for each in (world, other) * 4]
        world.finish(publish)
        seen = [counters(each.result()) for each in scraped]
        first, second = counters(scrape(world)), counters(scrape(other))
    assert first == second
    for one in seen:
        assert_none_fell(before, one)
        assert_none_fell(one, first)


def counters(text: str) -> Numbers:
    """The samples that may only grow; of a histogram its buckets, its count and its sum."""
    return {
        named: value
        for named, value in numbers(text).items()
        if named[0].endswith(("_total", "_bucket", "_count", "_sum"))
    }


def assert_none_fell(before: Mapping[Any, float], after: Mapping[Any, float]) -> None:
    assert {named: after.get(named) for named, value in before.items() if after.get(named, -1) < value} == {}


class Counting:
    """A store that counts how often it is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.round_trips = 0

    def command(self, *args: Any) -> Any:
        self.round_trips += 1
        return self._store.command(*args)

    def pipeline(self, *args: Any) -> Any:
        self.round_trips += 1
        return self._store.pipeline(*args)

    def script(self, *args: Any) -> Any:
        self.round_trips += 1
        return self._store.script(*args)


def test_a_scrape_is_eight_round_trips_whatever_has_ended_since(world: World) -> None:
    limits = get_concurrency_config({})
    with closing(open_store(world.application.settings.redis)) as store:
        list(families(read_state(store, limits, usage_days=400), limits, Env.DEV))  # the scripts are loaded
        for tasks in (0, 3):
            for _ in range(tasks):
                world.with_resume()
            counting = Counting(store)
            read_state(counting, limits, usage_days=400)  # type: ignore[arg-type]
            assert counting.round_trips <= 8


def test_a_scrape_of_what_has_not_changed_is_forty_commands_at_most(world: World) -> None:
    """Where commands are billed, a scrape a minute is as many a day as this times 1,440."""
    world.with_resume()
    scrape(world)
    before = commands(world.store)
    scrape(world)
    assert commands(world.store) - before - 1 <= 40


def commands(store: Store) -> int:
    """Return how many commands ran so far, in a script or not; to ask is one."""
    stats = str(store.command("INFO", "commandstats"))
    return sum(map(int, re.findall(r"^cmdstat_[^:]+:calls=(\d+)", stats, re.MULTILINE)))


def test_no_counter_falls_when_minutes_are_folded_or_the_journal_is_cut(world: World) -> None:
    world.with_match()
    world.store.command("HINCRBY", keys.TALLIES, "takeover|again|paid_batch|1", 3)  # of the year 1970
    before = counters(scrape(world))
    assert before["sluice_takeovers_total", (("lane", "paid_batch"), ("outcome", "again"))] == 3
    world.store.command("XTRIM", keys.JOURNAL, "MAXLEN", 0)
    world.store.command("HINCRBY", keys.TALLIES, "takeover|again|paid_batch|2", 1)
    for _ in range(2):
        after = counters(scrape(world))
        assert_none_fell(before, after)
        assert after["sluice_takeovers_total", (("lane", "paid_batch"), ("outcome", "again"))] == 4


def test_a_scrape_keeps_the_days_of_usage_for_as_long_as_is_configured(
    redis_url: str, tmp_path: Path
) -> None:
    with World(redis_url, tmp_path, {"OPS_TOKEN": TOKEN, "USAGE_DAYS": "3"}) as world:
        world.with_resume()
        scrape(world)
        (day,) = world.store.command("KEYS", "usage:2*")
        assert 0 < int(world.store.command("TTL", day)) <= 4 * 86_400
