"""Every transition through a network that loses, delays and lies: it happens once, or not at all and says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.proxy import RedisProxy
from devstack.proxy.faults import When
from devstack.upstash.server import UpstashStandIn
from devstack.valkey import EmbeddedValkey
from shared.errors import StoreUnavailable
from shared.state.store import RestStore, Store, TcpStore
from tests.integration.redis_faults_kit import each_case, each_refusal, shape, status_of
from tests.integration.test_transitions_twice import Twice
from tests.integration.transitions_kit import Bench

Open = Callable[..., Store]
TRIES = 2
"""How often the store sends a call over TCP whose connection breaks."""


@pytest.fixture
def proxy(valkey: EmbeddedValkey, redis_url: str) -> Iterator[RedisProxy]:
    with RedisProxy(valkey.port) as running:
        yield running


@pytest.fixture
def open_tcp(proxy: RedisProxy) -> Iterator[Open]:
    """Open stores whose way to Redis leads through the proxy."""
    with ExitStack() as opened:

        def open_store(**changes: float) -> Store:
            store = TcpStore(proxy.url, **changes)
            opened.callback(store.close)
            return store

        yield open_store


@pytest.fixture
def direct(store: Store) -> Bench:
    """A look at the same Redis that no fault disturbs."""
    return Bench(store)


def once(case: Twice, direct: Bench) -> str:
    """Return what the transition leaves when nothing goes wrong, and leave an empty Redis."""
    case.prepare(direct)()
    expected = shape(direct)
    direct.store.command("FLUSHALL")
    return expected


@each_case
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_transition_whose_connection_breaks_is_sent_again_and_has_the_effect_of_once(
    case: Twice, when: When, proxy: RedisProxy, open_tcp: Open, direct: Bench
) -> None:
    """D6, D15, D16, D21."""
    expected = once(case, direct)
    send = case.prepare(Bench(open_tcp()))
    lost = proxy.cut(case.script, when=when)

    assert status_of(send()) == (case.first if when == "before" else case.second)

    assert lost.hits == 1
    assert shape(direct) == expected


@each_case
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["tcp", "rest"])
def test_a_transition_that_stays_unanswered_says_so_and_may_be_sent_again(
    case: Twice, when: When, way: str, proxy: RedisProxy, open_tcp: Open, direct: Bench
) -> None:
    """D9, D15: whoever is told `store_unavailable` may ask again: what had happened does not happen twice."""
    expected = once(case, direct)
    with ExitStack() as opened:
        if way == "rest":
            stand_in = opened.enter_context(UpstashStandIn(proxy.url, token="t"))
            store: Store = RestStore(stand_in.url, "t")
            opened.callback(store.close)
        else:
            store = open_tcp()
        send = case.prepare(Bench(store))
        before = direct.dump()
        lost = proxy.cut(case.script, when=when, times=TRIES if way == "tcp" else 1)

        with pytest.raises(StoreUnavailable):
            send()

        assert lost.hits == lost.times
        if when == "before":
            assert direct.dump() == before
        else:
            assert shape(direct) == expected
        assert status_of(send()) == (case.first if when == "before" else case.second)
        assert shape(direct) == expected


@each_case
def test_a_transition_that_arrives_after_its_sender_gave_up_has_the_effect_of_once(
    case: Twice, proxy: RedisProxy, open_tcp: Open, direct: Bench
) -> None:
    """D15, D16: what the network held back is still delivered, every copy of it."""
    expected = once(case, direct)
    send = case.prepare(Bench(open_tcp()))
    before = direct.dump()
    proxy.keep_back(case.script, times=TRIES)
    with pytest.raises(StoreUnavailable):
        send()
    assert direct.dump() == before

    assert proxy.deliver_late() == TRIES

    assert shape(direct) == expected
    assert status_of(send()) == case.second
    assert shape(direct) == expected


@each_case
def test_a_copy_that_arrives_late_changes_nothing(
    case: Twice, proxy: RedisProxy, open_tcp: Open, direct: Bench
) -> None:
    """D15, D16."""
    send = case.prepare(Bench(open_tcp()))
    proxy.keep_back(case.script)
    assert status_of(send()) == case.first
    before = direct.dump()

    assert proxy.deliver_late() == 1

    assert direct.dump() == before


@each_case
@each_refusal
def test_a_redis_that_cannot_work_now_is_no_answer_and_nothing_has_happened(
    case: Twice, error: str, proxy: RedisProxy, open_tcp: Open, direct: Bench
) -> None:
    """D9."""
    send = case.prepare(Bench(open_tcp()))
    before = direct.dump()
    proxy.answer(case.script, error, times=None)

    with pytest.raises(StoreUnavailable) as failure:
        send()

    assert failure.value.retry_after_seconds
    assert direct.dump() == before
    proxy.heal()
    assert status_of(send()) == case.first


@each_case
def test_a_redis_that_does_not_know_a_script_is_given_it(
    case: Twice, proxy: RedisProxy, open_tcp: Open, direct: Bench
) -> None:
    expected = once(case, direct)
    send = case.prepare(Bench(open_tcp()))
    proxy.answer("EVALSHA", "NOSCRIPT No matching script. Please use EVAL.")
    whole_before = proxy.passed("EVAL")

    assert status_of(send()) == case.first

    assert proxy.passed("EVAL") == whole_before + 1
    assert shape(direct) == expected


MAY_BE_SENT_TWICE = {
    *("HGET", "HGETALL", "HMGET", "LRANGE", "SMEMBERS", "TIME", "PING", "XREVRANGE", "SCAN"),
    *("XRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE"),
    *("DEL", "ZREM"),  # what is gone stays gone
    "XADD",  # under an explicit id, which Redis takes once
}


def test_every_single_command_that_the_product_sends_may_be_sent_twice() -> None:
    """The store sends a call again when its connection breaks; whatever may not be doubled is a script."""
    files = (Path(__file__).parents[2] / "shared").rglob("*.py")
    sources = [text for path in files if "Store" in (text := path.read_text(encoding="utf-8"))]
    verbs = {
        verb
        for source in sources
        for verb in re.findall(r'(?:store\.command\(|\[\[?)\s*"([A-Z]{3,})",', source)
    }
    assert {"HGET", "ZREM", "XADD", "ZCARD"} <= verbs
    assert verbs <= MAY_BE_SENT_TWICE
