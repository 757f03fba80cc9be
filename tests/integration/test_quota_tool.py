"""`scripts/sluice quota` as support staff run it, and the grant below it: the ledger's sum is the balance, always."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.upstash.server import Fault, UpstashStandIn
from devstack.valkey import free_port
from shared.state import keys
from shared.state.erasure import erase_user
from shared.state.quota import Granted, grant, read_quota
from shared.state.store import RestStore, Store
from tests.integration.tool_kit import Ran, call, run
from tests.integration.transitions_kit import Bench, new_ref

INITIAL = 8
quota = partial(call, "quota")
"""The command, called in this process."""


@dataclass(frozen=True)
class Tool:
    """The tool on one Redis, in this process."""

    redis_url: str

    def __call__(self, *arguments: str) -> Ran:
        return quota(*arguments, REDIS_URL=self.redis_url, INITIAL_QUOTA=str(INITIAL))


@pytest.fixture
def tool(redis_url: str) -> Tool:
    return Tool(redis_url)


def give(store: Store, coins: int, reference: str = "r1", user: str = "u1") -> Granted:
    return grant(store, user, coins, reference, initial=INITIAL)


def lines(store: Store, user: str = "u1") -> list[tuple[str, int, int]]:
    ledger = read_quota(store, user, initial=INITIAL).ledger
    return [(line["kind"], line["delta"], line["balance"]) for line in ledger]


def adds_up(store: Store, user: str = "u1") -> bool:
    """Return whether the ledger's sum is the balance, and each line's balance that of all lines up to it."""
    quota, total = read_quota(store, user, initial=INITIAL), 0
    for line in quota.ledger:
        total += line["delta"]
        assert line["balance"] == total
    return quota.unexplained == 0


# -- the grant -----------------------------------------------------------------------------------------------


def test_a_grant_is_in_the_balance_and_in_the_ledger_with_its_reference(each_store: Store) -> None:
    assert give(each_store, 5, "案件-17") == Granted("granted", 5, 13)
    last = read_quota(each_store, "u1", initial=INITIAL).ledger[-1]
    assert {**last, "at": 0} == {"at": 0, "kind": "grant", "delta": 5, "balance": 13, "reference": "案件-17"}
    assert last["at"] > 1_000_000_000_000


def test_a_user_never_seen_is_granted_the_first_coins_before(store: Store) -> None:
    give(store, 5)
    assert lines(store) == [("grant", 8, 8), ("grant", 5, 13)]


def test_an_admission_after_a_grant_makes_no_second_first_grant(store: Store) -> None:
    give(store, 5)
    job = Bench(store, initial_quota=INITIAL).admit()
    assert job.tier == "paid"
    assert [kind for kind, _, _ in lines(store)] == ["grant", "grant", "debit"]
    assert adds_up(store)


def test_a_grant_after_an_admission_makes_no_second_first_grant(store: Store) -> None:
    Bench(store, initial_quota=INITIAL).admit()
    give(store, 5)
    assert [kind for kind, _, _ in lines(store)] == ["grant", "debit", "grant"]
    assert adds_up(store)


def test_a_grant_with_the_same_reference_changes_nothing(each_store: Store) -> None:
    """D15, for coins that are given: whoever is not sure sends it again."""
    give(each_store, 5)
    assert give(each_store, 5) == Granted("replay", 5, 13)
    assert lines(each_store) == [("grant", 8, 8), ("grant", 5, 13)]


def test_a_reference_never_stands_for_other_coins(store: Store) -> None:
    give(store, 5)
    assert give(store, 6) == Granted("mismatch", 5, 13)
    assert give(store, -5) == Granted("mismatch", 5, 13)
    assert lines(store)[-1] == ("grant", 5, 13)


def test_the_same_reference_is_another_grant_for_another_user(store: Store) -> None:
    give(store, 5, user="u1")
    assert give(store, 6, user="u2").status == "granted"


def test_taking_back_stops_at_an_empty_balance(store: Store) -> None:
    assert give(store, -9, "r1") == Granted("short", 0, 8)
    assert lines(store) == []
    assert give(store, -8, "r1") == Granted("granted", -8, 0)
    assert give(store, -1, "r2") == Granted("short", 0, 0)
    assert adds_up(store)


def test_a_grant_sent_again_after_its_user_was_forgotten_changes_nothing(store: Store) -> None:
    """The deletion shortens the ledger; what a reference stands for is kept with the balance."""
    give(store, 5)
    erase_user(store, "u1")
    assert lines(store) == [("grant", 13, 13)]
    assert give(store, 5) == Granted("replay", 5, 13)
    assert lines(store) == [("grant", 13, 13)]
    give(store, 2, "r2")
    assert adds_up(store)


def test_a_lost_reply_grants_once(rest_store: RestStore, upstash: UpstashStandIn) -> None:
    upstash.faults.append(Fault("drop_answer"))
    assert give(rest_store, 5) == Granted("replay", 5, 13)
    assert lines(rest_store) == [("grant", 8, 8), ("grant", 5, 13)]


def test_the_same_grant_from_many_at_once_is_one_grant(store: Store) -> None:
    with ThreadPoolExecutor(20) as pool:
        statuses = [granted.status for granted in pool.map(lambda _: give(store, 5), range(40))]
    assert statuses.count("granted") == 1
    assert statuses.count("replay") == 39
    assert lines(store) == [("grant", 8, 8), ("grant", 5, 13)]


def test_grants_among_admissions_and_refunds_leave_a_ledger_that_adds_up(store: Store) -> None:
    """D15, D19."""
    bench = Bench(store, {"QUEUE_MAX_SIZE": "1000", "FREE_STREAM_QUEUE_MAX": "1000"}, initial_quota=INITIAL)

    def act(number: int) -> None:
        if number % 3 == 0:
            give(store, 5 if number % 2 else -1, f"r{number}")
            return
        answer = bench.ask(ref=(ref := new_ref()))
        if answer.status == "accepted" and number % 3 == 1:
            bench.tasks.cancel(ref)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(act, range(90)))
    assert {"grant", "debit", "refund"} == {kind for kind, _, _ in lines(store)}
    assert adds_up(store)


@given(steps=st.lists(st.tuples(st.integers(-12, 12).filter(bool), st.integers(0, 5)), max_size=15))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_sequence_of_grants_makes_a_ledger_that_does_not_add_up_or_a_balance_below_zero(
    store: Store, steps: list[tuple[int, int]]
) -> None:
    store.command("FLUSHALL")
    balance, given_before = INITIAL, dict[str, int]()
    for coins, number in steps:
        reference = f"r{number}"
        answer = give(store, coins, reference)
        if reference in given_before:
            assert answer.status == ("replay" if given_before[reference] == coins else "mismatch")
        elif balance + coins < 0:
            assert answer.status == "short"
        else:
            assert answer.status == "granted"
            given_before[reference] = coins
            balance += coins
        assert answer.balance == balance >= 0
    assert read_quota(store, "u1", initial=INITIAL).balance == balance
    assert adds_up(store)


# -- the tool ------------------------------------------------------------------------------------------------


def test_show_lists_every_line_and_the_balance(tool: Tool, store: Store) -> None:
    bench = Bench(store, initial_quota=INITIAL)
    job = bench.admit()
    bench.cancel(job)
    give(store, 5, "CASE-17")
    shown = tool("show", "u1")
    assert shown.status == 0
    head, *rows, total = shown.out.splitlines()
    assert head.split() == ["time", "(UTC)", "kind", "coins", "balance", "task", "or", "reference"]
    assert [row.split()[2] for row in rows] == ["grant", "debit", "refund", "grant"]
    assert rows[1].split()[-1] == rows[2].split()[-1] == job.ref.task_id
    assert rows[3].split()[3:] == ["+5", "13", "CASE-17"]
    assert total == "u1 has 13 coins."


def test_show_as_json_holds_the_same(tool: Tool, store: Store) -> None:
    give(store, 5)
    answer = tool("show", "u1", "--json").json
    assert (answer["user"], answer["balance"], answer["unexplained"]) == ("u1", 13, 0)
    assert answer["ledger"] == read_quota(store, "u1", initial=INITIAL).ledger


def test_show_says_of_a_user_never_seen_what_a_first_task_would_find(tool: Tool, store: Store) -> None:
    shown = tool("show", "张三")
    assert (shown.status, shown.out) == (0, "张三 was never seen; a first task would find 8 coins.\n")
    assert store.command("KEYS", "*") == []


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_show_fails_when_the_ledger_does_not_add_up(tool: Tool, store: Store, form: tuple[str, ...]) -> None:
    give(store, 5)
    store.command("HINCRBY", keys.quota("u1"), "balance", 1)
    shown = tool("show", "u1", *form)
    assert (shown.status, shown.err) == (1, "quota: the ledger adds up to 13, not to 14\n")


def test_show_fails_when_a_known_user_has_no_ledger_or_a_ledger_no_balance(tool: Tool, store: Store) -> None:
    give(store, 5)
    store.command("RENAME", keys.ledger("u1"), keys.ledger("u2"))
    assert tool("show", "u1").status == 1
    assert tool("show", "u2").status == 1


def test_a_line_that_is_none_is_said_not_thrown(tool: Tool, store: Store) -> None:
    give(store, 5)
    store.command("RPUSH", keys.ledger("u1"), "not a line")
    assert tool("show", "u1").err == "quota: the ledger of u1 holds a line that is none\n"


def test_granting_prints_its_reference_and_with_it_again_changes_nothing(
    redis_url: str, store: Store
) -> None:
    """As a process of its own, as support staff start it."""
    tool = partial(run, "quota", REDIS_URL=redis_url, INITIAL_QUOTA=str(INITIAL))
    first = tool("grant", "u1", "5")
    assert first.status == 0
    assert "+5 granted; has 13 coins." in first.out
    reference = first.out.split("Reference: ")[1].strip()
    again = tool("grant", "u1", "5", "--reference", reference)
    assert again.status == 0
    assert "granted before, nothing changed; has 13 coins." in again.out
    assert lines(store) == [("grant", 8, 8), ("grant", 5, 13)]


def test_two_grants_without_a_reference_are_two(tool: Tool, store: Store) -> None:
    tool("grant", "u1", "5")
    tool("grant", "u1", "5")
    assert lines(store)[-1] == ("grant", 5, 18)


def test_granting_as_json_holds_the_reference_and_what_became_of_it(tool: Tool) -> None:
    answer = tool("grant", "u1", "5", "--reference", "r", "--json").json
    assert answer == {"user": "u1", "reference": "r", "status": "granted", "coins": 5, "balance": 13}


def test_a_refused_grant_says_why_and_fails(tool: Tool, store: Store) -> None:
    tool("grant", "u1", "5", "--reference", "r")
    other = tool("grant", "u1", "6", "--reference", "r")
    assert (other.status, other.err) == (1, "quota: r stands for +5, not for +6; nothing changed\n")
    short = tool("grant", "u1", "-99", "--take-back")
    assert (short.status, short.err) == (1, "quota: u1 has only 13 coins; nothing changed\n")
    assert lines(store)[-1] == ("grant", 5, 13)


def test_taking_back_has_to_be_meant(tool: Tool, store: Store) -> None:
    assert tool("grant", "u1", "-2").status == 2
    assert tool("grant", "u1", "2", "--take-back").status == 2
    assert lines(store) == []
    assert tool("grant", "u1", "-2", "--take-back").status == 0
    assert lines(store)[-1] == ("grant", -2, 6)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["give"],
        ["show"],
        ["show", ""],
        ["show", "a\nb"],
        ["show", "\udcff"],
        ["show", "u" * 257],
        ["grant", "u1"],
        ["grant", "u1", "0"],
        ["grant", "u1", "many"],
        ["grant", "u1", "1.5"],
        ["grant", "u1", "1000001"],
        ["grant", "u1", "5", "--reference", ""],
        ["grant", "u1", "5", "--reference", "a\nb"],
    ],
    ids=str,
)
def test_wrong_usage_is_2_and_changes_nothing(tool: Tool, store: Store, arguments: list[str]) -> None:
    ran = tool(*arguments)
    assert ran.status == 2
    assert "usage: scripts/sluice quota" in ran.err
    assert store.command("KEYS", "*") == []


def test_a_missing_address_is_named(redis_url: str) -> None:
    ran = quota("show", "u1")
    assert ran.status == 2
    assert "REDIS_URL is missing" in ran.err


def test_redis_away_is_said_with_the_reference_to_try_again_with() -> None:
    away = Tool(f"redis://127.0.0.1:{free_port()}/0")
    shown, granted = away("show", "u1"), away("grant", "u1", "5", "--reference", "CASE-17")
    assert (shown.status, granted.status) == (3, 3)
    assert "not known to be done; try again with --reference CASE-17" in granted.err


def test_the_tool_works_over_upstash_rest_too(upstash: UpstashStandIn, store: Store) -> None:
    over_rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    assert quota("grant", "u1", "5", **over_rest).status == 0
    assert quota("show", "u1", **over_rest).out.endswith("u1 has 13 coins.\n")
    assert adds_up(store)


@pytest.mark.parametrize("command", [(), ("show",), ("grant",)])
def test_help_names_what_there_is(command: tuple[str, ...]) -> None:
    ran = quota(*command, "--help")
    assert ran.status == 0
    assert "USER" in ran.out or "grant" in ran.out
