"""How many requests a user may make, counted in a real Redis."""

from __future__ import annotations

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import parse as parse_limit

from devstack.upstash.server import Fault, UpstashStandIn
from devstack.valkey import EmbeddedValkey, free_port
from shared.actions.rates import RequestRates, Windows
from shared.errors import RateLimited, StoreUnavailable
from shared.settings import RateLimits
from shared.state import keys
from shared.state.store import RestStore, Store, TcpStore


def rates(store: Store, reads: str = "5/minute", writes: str = "3/minute") -> RequestRates:
    return RequestRates(store, RateLimits(reads=reads, writes=writes))


def passed(counter: RequestRates, requests: int, user: str = "u1", *, writes: bool = False) -> int:
    """Return how many of some requests, one after the other, were let through."""
    return sum(_passes(counter, user, writes=writes) for _ in range(requests))


def refusal(counter: RequestRates, user: str = "u1") -> int:
    """Return how many seconds a refused user is told to wait."""
    with pytest.raises(RateLimited) as refused:
        counter.count(user, writes=False)
    assert refused.value.retry_after_seconds is not None
    return refused.value.retry_after_seconds


def let_pass_ms(store: Store, ms: float, user: str = "u1", kind: str = "reads") -> None:
    """Move a user's windows into the past, as if time had gone by."""
    store.command("HINCRBY", keys.rate(user, kind), "since", -math.ceil(ms))


def _passes(counter: RequestRates, user: str, *, writes: bool) -> bool:
    try:
        counter.count(user, writes=writes)
    except RateLimited:
        return False
    return True


# -- the limit -----------------------------------------------------------------------------------------------


def test_as_many_requests_as_the_limit_says_are_let_through(each_store: Store) -> None:
    assert passed(rates(each_store), 8) == 5


def test_fifty_threads_at_once_get_exactly_the_limit_through(store: Store) -> None:
    counter, start = rates(store, reads="120/hour"), threading.Barrier(50)

    def client(_: int) -> int:
        start.wait()
        return passed(counter, 5)

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(client, range(50))) == 120


def test_instances_of_the_function_count_together(redis_url: str) -> None:
    stores = [TcpStore(redis_url) for _ in range(2)]
    try:
        assert [passed(rates(opened), 4) for opened in stores] == [4, 1]
    finally:
        for opened in stores:
            opened.close()


def test_one_user_s_requests_do_not_count_for_another(store: Store) -> None:
    counter = rates(store)
    assert [passed(counter, 8, user) for user in ("u1", "u2", "u1:reads", "张三")] == [5, 5, 5, 5]


def test_reads_and_writes_are_counted_apart(store: Store) -> None:
    counter = rates(store)
    assert passed(counter, 8, writes=True) == 3
    assert passed(counter, 8, writes=False) == 5


def test_a_refused_request_is_not_counted(store: Store) -> None:
    counter = rates(store)
    passed(counter, 5)
    before = store.command("HGETALL", keys.rate("u1", "reads"))
    passed(counter, 20)
    assert store.command("HGETALL", keys.rate("u1", "reads")) == before


@pytest.mark.parametrize(
    ("limit", "seconds"), [("2/second", 1), ("2/minute", 60), ("2/hour", 3600), ("2/day", 86400)]
)
def test_each_unit_of_time_is_as_long_as_its_name_says(store: Store, limit: str, seconds: int) -> None:
    counter = rates(store, reads=limit)
    counter.count("u1", writes=False)
    assert seconds * 1000 < store.command("PTTL", keys.rate("u1", "reads")) <= seconds * 2000


# -- the window ----------------------------------------------------------------------------------------------


def test_the_window_slides_a_request_becomes_free_at_a_time_not_all_at_once(store: Store) -> None:
    counter = rates(store)
    passed(counter, 5)
    let_pass_ms(store, 60_000 + 6_000)  # a tenth of the next window: four and a half of the five still count
    assert passed(counter, 8) == 1
    let_pass_ms(store, 24_000)
    assert passed(counter, 8) == 2


def test_a_limit_cannot_be_used_up_twice_around_the_end_of_a_window(store: Store) -> None:
    """What a fixed window lets through: a burst at its end and another at the next one's beginning."""
    counter = rates(store)
    counter.count("u1", writes=False)
    let_pass_ms(store, 59_000)
    assert passed(counter, 8) == 4
    let_pass_ms(store, 2_000)
    assert passed(counter, 8) <= 1


def test_after_two_windows_without_a_request_all_are_free(store: Store) -> None:
    counter = rates(store)
    passed(counter, 5)
    let_pass_ms(store, 120_000)
    assert passed(counter, 8) == 5


def test_a_clock_that_fell_back_locks_nobody_out(store: Store) -> None:
    counter = rates(store)
    passed(counter, 5)
    let_pass_ms(store, -3_600_000)
    assert refusal(counter) <= 61
    let_pass_ms(store, 3_600_000 + 120_000)
    counter.count("u1", writes=False)


# -- Retry-After ---------------------------------------------------------------------------------------------


def test_whoever_comes_back_when_told_is_let_through_and_not_a_second_earlier(store: Store) -> None:
    counter = rates(store)
    passed(counter, 5)
    for _ in range(12):
        seconds = refusal(counter)
        let_pass_ms(store, (seconds - 1) * 1000 - 500)
        refusal(counter)
        let_pass_ms(store, 1_500)
        counter.count("u1", writes=False)


def test_a_limit_that_was_lowered_says_when_it_will_be_kept(store: Store) -> None:
    passed(rates(store, reads="100/minute"), 100)
    lowered = rates(store, reads="5/minute")
    let_pass_ms(store, refusal(lowered) * 1000)
    lowered.count("u1", writes=False)


@given(
    limit=st.integers(1, 50),
    before=st.integers(0, 50),
    count=st.integers(0, 50),
    left_ms=st.integers(1, 60_000),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_retry_after_is_the_first_whole_second_at_which_the_limit_has_room(
    limit: int, before: int, count: int, left_ms: int
) -> None:
    def room_after(seconds: int) -> bool:
        left, old, new = Fraction(left_ms - seconds * 1000), before, count
        while left <= 0:
            left, old, new = left + 60_000, new, 0
        return math.floor(old * left / 60_000) + new + 1 <= limit

    if room_after(0):
        return
    first = next(seconds for seconds in range(1, 1000) if room_after(seconds))
    told = Windows(before, count, left_ms).retry_after_seconds(parse_limit(f"{limit}/minute"))
    assert told == first


# -- the storage ---------------------------------------------------------------------------------------------


def test_counting_is_one_script_a_request_also_when_it_refuses(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    counter = rates(rest_store)
    passed(counter, 8)
    assert [json.loads(request.body)[0] for request in upstash.requests] == ["EVAL"] * 8


def test_redis_away_is_no_reason_to_let_anybody_through() -> None:
    """D9: no counting in memory while Redis is away."""
    gone = TcpStore(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable) as away:
        rates(gone).count("u1", writes=False)
    assert away.value.status == 503
    gone.close()


def test_a_redis_that_comes_back_counts_again(own_valkey: EmbeddedValkey) -> None:
    opened = TcpStore(own_valkey.url)
    counter = rates(opened)
    passed(counter, 5)
    own_valkey.kill()
    with pytest.raises(StoreUnavailable):
        counter.count("u1", writes=False)
    own_valkey.restart()
    assert passed(counter, 8) == 5
    opened.close()


def test_a_reply_that_is_lost_counts_twice_at_most_and_lets_nobody_through_in_excess(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    """The store sends again what got no answer."""
    counter = rates(rest_store)
    upstash.faults.append(Fault("drop_answer"))
    counter.count("u1", writes=False)
    assert len(upstash.requests) == 2
    assert passed(counter, 8) == 3


def test_the_keys_name_no_user_and_expire_by_themselves(store: Store) -> None:
    counter = rates(store)
    passed(counter, 1, "ada@example.org")
    passed(counter, 1, "ada@example.org", writes=True)
    names = store.command("KEYS", "*")
    assert len(names) == 2
    assert not [name for name in names if "ada" in name or store.command("PTTL", name) <= 0]
