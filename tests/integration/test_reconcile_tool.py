"""`scripts/sluice reconcile` as an operator runs it: its answers, its exit status, and a run that is cut off."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from devstack.proxy import RedisProxy
from devstack.upstash.server import UpstashStandIn
from devstack.valkey import EmbeddedValkey, free_port
from shared.routing import Lane
from shared.state import keys
from shared.state.store import Store, TcpStore
from tests.integration.reconcile_kit import check
from tests.integration.tool_kit import PROGRAM, Ran, bare_environment, call, run
from tests.integration.transitions_kit import Bench, Job, poll

HARMED = 5
CHECKS = ("check_member", "check_slots", "check_task", "check_account")


def reconcile(url: str, *arguments: str) -> Ran:
    return call("reconcile", *arguments, REDIS_URL=url)


def harm(bench: Bench) -> list[Job]:
    """Leave places of tasks that have ended, and ended tasks that were not refunded."""
    jobs = [bench.admit(f"u{number}") for number in range(HARMED)]
    for number, job in enumerate(jobs):
        bench.cancel(job)
        bench.store.command("ZADD", keys.queue(Lane.PAID_STREAM), bench.now_ms(), f"{job.ref.task_id}:0")
        bench.store.command("HINCRBY", keys.quota(f"u{number}"), "balance", -2)
        bench.store.command("RPOP", keys.ledger(f"u{number}"))
    return jobs


def ledgers(bench: Bench) -> list[list[tuple[str, int]]]:
    return [bench.ledger(f"u{number}") for number in range(HARMED)]


REFUNDED_ONCE = [[("grant", 8), ("debit", -2), ("refund", 2)]] * HARMED


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


@pytest.fixture
def proxy(valkey: EmbeddedValkey) -> Iterator[RedisProxy]:
    with RedisProxy(valkey.port) as running:
        yield running


def test_nothing_differs_is_0(bench: Bench, redis_url: str) -> None:
    bench.admit()
    ran = reconcile(redis_url)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "Compared 1 tasks, 1 accounts, 1 places, 0 slots, 1 open tasks, 1 open tasks of users.\n"
        "Nothing differs.\n"
    )


def test_an_empty_redis_is_0(redis_url: str, store: Store) -> None:
    assert reconcile(redis_url, "--repair").status == 0
    assert store.command("DBSIZE") == 0


def test_a_difference_is_1_until_it_is_repaired(bench: Bench, redis_url: str) -> None:
    """As a process of its own, as an operator starts it."""
    program = partial(run, "reconcile", REDIS_URL=redis_url)
    jobs = harm(bench)
    found = program()
    assert found.status == 1
    assert f"differs   refund    task {jobs[0].ref.task_id} is cancelled" in found.out
    assert found.out.endswith(f"\n{2 * HARMED} differences, 0 repaired.\n")

    mended = program("--repair")
    assert mended.status == 0
    assert f"repaired  refund    task {jobs[0].ref.task_id} is cancelled" in mended.out
    assert ledgers(bench) == REFUNDED_ONCE

    assert program().out.endswith("\nNothing differs.\n")


def test_what_cannot_be_repaired_stays_1_and_is_told_apart(bench: Bench, redis_url: str) -> None:
    harm(bench)
    bench.store.command("RPUSH", keys.ledger("u0"), "not a line")
    mended = reconcile(redis_url, "--repair")
    assert mended.status == 1
    assert mended.out.count("\nrepaired ") + mended.out.startswith("repaired ") == 2 * HARMED
    assert "differs   ledger" in mended.out
    assert mended.out.endswith(f"\n{2 * HARMED + 1} differences, {2 * HARMED} repaired.\n")


def test_slots_that_come_back_by_themselves_are_told(bench: Bench, redis_url: str) -> None:
    lapsed, ended = bench.run(bench.admit("u1")), bench.admit("u2")
    bench.lapse(lapsed)
    bench.run(ended)
    bench.cancel(ended)
    bench.store.command("ZADD", keys.slots(lapsed.model, lapsed.tier), 1, lapsed.holder)
    ran = reconcile(redis_url)
    assert ran.status == 0
    assert "1 slot held by attempts that are over: free within one lease\n" in ran.out
    assert "1 slot whose lease has lapsed: they do not count\n" in ran.out


def test_json_says_the_same(bench: Bench, redis_url: str) -> None:
    harm(bench)
    answer = reconcile(redis_url, "--json").json
    assert answer["unrepaired"] == len(answer["differences"]) == 2 * HARMED
    assert set(answer["differences"][0]) == {"kind", "what", "repaired"}
    assert answer["checked"]["task"] == HARMED
    assert (answer["ending"], answer["lapsed"]) == (0, 0)


def test_no_user_is_named(bench: Bench, redis_url: str) -> None:
    user = "ada@example.com"
    job = bench.admit(user)
    bench.store.command("SADD", keys.active(user), "nobody")
    bench.store.command("HINCRBY", keys.quota(user), "balance", 1)
    bench.store.command("ZREM", keys.OPEN_TASKS, job.ref.task_id)
    ran = reconcile(redis_url)
    assert ran.out.count("differs ") == 3
    assert user not in ran.out + ran.err


def test_limits_and_durations_are_those_of_the_environment(bench: Bench, redis_url: str) -> None:
    bench.run(bench.admit())
    assert call("reconcile", REDIS_URL=redis_url, LEASE_SECONDS="30").status == 0
    shorter = call("reconcile", REDIS_URL=redis_url, LEASE_SECONDS="0.5")
    assert (shorter.status, "for longer than a lease" in shorter.out) == (1, True)


@pytest.mark.parametrize("arguments", [["--mend"], ["repair"], ["--repair=yes"]], ids=str)
def test_wrong_usage_is_2(arguments: list[str], bench: Bench, redis_url: str) -> None:
    harm(bench)
    ran = reconcile(redis_url, *arguments)
    assert ran.status == 2
    assert "usage: scripts/sluice reconcile" in ran.err
    assert ledgers(bench) != REFUNDED_ONCE


def test_wrong_configuration_is_2_and_named() -> None:
    ran = call("reconcile", LEASE_SECONDS="soon")
    assert ran.status == 2
    assert "REDIS_URL is missing" in ran.err
    assert "LEASE_SECONDS must be a number" in ran.err


def test_no_redis_is_3() -> None:
    ran = reconcile(f"redis://127.0.0.1:{free_port()}/0")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.startswith("reconcile: ")


def test_help_says_what_the_exit_status_means(redis_url: str) -> None:
    ran = reconcile(redis_url, "--help")
    assert ran.status == 0
    assert "--repair" in ran.out
    assert "3 no Redis" in " ".join(ran.out.split())


def test_it_works_over_upstash_rest_too(upstash: UpstashStandIn, bench: Bench) -> None:
    harm(bench)
    over_rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    assert call("reconcile", **over_rest).status == 1
    assert call("reconcile", "--repair", **over_rest).status == 0
    assert check(bench).is_clean
    assert ledgers(bench) == REFUNDED_ONCE


@pytest.mark.parametrize("script", ["check_member", "check_task"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_d15_a_run_killed_half_way_is_completed_by_the_next(
    script: str, when: Any, bench: Bench, proxy: RedisProxy
) -> None:
    """D15: killed before or after a repair's reply, the next run repairs the rest and refunds nothing twice."""
    harm(bench)
    held = proxy.hold(script, when=when, nth=3)
    with subprocess.Popen(
        [*PROGRAM, "reconcile", "--repair"],
        env=bare_environment(REDIS_URL=proxy.url),
        stdout=subprocess.DEVNULL,
    ) as process:
        poll(lambda: held.hits == 1, within_seconds=30)
        process.kill()

    assert not check(bench).is_clean
    assert not check(bench, repair=True).unrepaired
    assert check(bench).is_clean
    assert ledgers(bench) == REFUNDED_ONCE


@pytest.mark.parametrize("script", CHECKS)
def test_d15_a_check_whose_reply_is_lost_is_sent_again_and_repairs_once(
    script: str, bench: Bench, proxy: RedisProxy
) -> None:
    """D15: the store sends a script again whose connection broke; the second one finds what the first left."""
    harm(bench)
    lost = proxy.cut(script, when="after")
    with contextlib.closing(TcpStore(proxy.url)) as store:
        assert not check(bench, repair=True, store=store).unrepaired
    assert lost.hits == 1
    assert ledgers(bench) == REFUNDED_ONCE


def test_a_redis_that_goes_away_in_mid_run_is_3_and_the_next_run_does_the_rest(
    bench: Bench, proxy: RedisProxy
) -> None:
    harm(bench)
    proxy.answer("check_task", "READONLY You can't write against a read only replica.", nth=3, times=None)
    assert reconcile(proxy.url, "--repair").status == 3
    assert not check(bench, repair=True).unrepaired
    assert ledgers(bench) == REFUNDED_ONCE
