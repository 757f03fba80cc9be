"""A reader's connection while the bridge's Redis fails: it recovers by itself, nothing missed, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.proxy import RedisProxy
from devstack.proxy.faults import When
from devstack.valkey import EmbeddedValkey
from shared.state.store import Store, TcpStore
from tests.integration.bridge.kit import BridgeProcess, Browser, Work, text_of

TEXT = [f"batch {n} " for n in range(12)]


@pytest.fixture(scope="module")
def proxy(valkey: EmbeddedValkey) -> Iterator[RedisProxy]:
    """A proxy between the bridge and its Redis; whoever writes the events goes past it."""
    with RedisProxy(valkey.port) as running:
        yield running


@pytest.fixture(scope="module")
def bridge(proxy: RedisProxy) -> Iterator[BridgeProcess]:
    with BridgeProcess(proxy.url) as process:
        yield process


@pytest.fixture
def browser(bridge: BridgeProcess, proxy: RedisProxy) -> Iterator[Browser]:
    client = Browser(bridge.url)
    yield client
    client.http.close()
    proxy.heal()


@pytest.fixture
def work(store: Store) -> Iterator[Work]:
    with Work(store) as made:
        yield made


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_read_that_breaks_is_read_again_from_the_same_place(
    nth: int, when: When, browser: Browser, work: Work, proxy: RedisProxy
) -> None:
    """D32: entries whose reply was lost come with the next."""
    attempt = work.claim()
    with browser.read() as reader:
        seen = reader.take(2)
        lost = proxy.cut("XREAD", when=when, nth=nth, times=2)
        for text in TEXT:
            work.say(attempt, text)
            seen.append(reader.next())
        work.finish(attempt, "".join(TEXT))
        seen += reader.rest()
    assert lost.hits >= 1  # how many reads a text takes is the moment's affair
    assert [frame.id for frame in seen] == work.ids()
    assert text_of(seen) == "".join(TEXT)


def test_a_reader_goes_on_across_every_connection_cut_in_mid_stream(
    browser: Browser, work: Work, proxy: RedisProxy
) -> None:
    """D32."""
    attempt = work.claim()
    with browser.read() as reader:
        seen = reader.take(2)
        for text in TEXT[:4]:
            proxy.cut_all()
            work.say(attempt, text)
            proxy.cut_all()
            seen.append(reader.next())
        work.finish(attempt, "".join(TEXT[:4]))
        seen += reader.rest()
    assert [frame.id for frame in seen] == work.ids()
    assert text_of(seen) == "".join(TEXT[:4])


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "NOAUTH Authentication required.",
    ],
    ids=lambda error: error.split()[0],
)
def test_a_redis_that_cannot_work_keeps_readers_and_tells_newcomers_when_to_come(
    error: str, browser: Browser, work: Work, proxy: RedisProxy
) -> None:
    attempt = work.claim()
    with browser.read() as reader:
        seen = reader.take(2)
        proxy.answer("", error, times=None)
        proxy.cut_all()
        refused = browser.get()
        assert (refused.status_code, refused.json()["error"]) == (503, "store_unavailable")
        assert refused.headers["Retry-After"] == str(refused.json()["retryAfter"])
        work.say(attempt, *TEXT[:3])
        proxy.heal()
        work.finish(attempt, "".join(TEXT[:3]))
        seen += reader.rest()
    assert [frame.id for frame in seen] == work.ids()
    assert text_of(seen) == "".join(TEXT[:3])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_history_that_breaks_while_it_is_read_is_read_again(
    when: When, browser: Browser, work: Work, proxy: RedisProxy
) -> None:
    """D34."""
    attempt = work.claim()
    work.say(attempt, *TEXT)
    work.finish(attempt, "".join(TEXT))
    lost = proxy.cut("XRANGE", when=when)
    with browser.read() as reader:
        seen = reader.rest()
    assert lost.hits == 1
    assert [frame.event for frame in seen][-1] == "done"
    assert text_of(seen) == "".join(TEXT)


def test_a_stalled_network_delays_readers_and_takes_nothing_from_them(
    browser: Browser, work: Work, proxy: RedisProxy
) -> None:
    attempt = work.claim()
    with browser.read() as reader:
        seen = reader.take(2)
        proxy.stall()
        work.say(attempt, *TEXT[:2])
        proxy.resume()
        work.say(attempt, *TEXT[2:4])
        work.finish(attempt, "".join(TEXT[:4]))
        seen += reader.rest()
    assert [frame.id for frame in seen] == work.ids()
    assert text_of(seen) == "".join(TEXT[:4])


def test_a_bridge_led_to_an_emptied_redis_ends_its_readers_instead_of_keeping_them_for_ever(
    valkey: EmbeddedValkey, own_valkey: EmbeddedValkey, work: Work
) -> None:
    """D32: what they wait for can never come."""
    work.claim()
    with (
        RedisProxy(valkey.port) as proxy,
        BridgeProcess(proxy.url, LEASE_SECONDS="0.2", HEARTBEAT_SECONDS="0.1") as process,
    ):
        client = Browser(process.url)
        with client.read() as reader:
            reader.take(2)
            proxy.lead_to(own_valkey.port)
            assert {frame.event for frame in reader.rest()} <= {"stalled"}
            assert reader.retry_ms
        assert client.get().status_code == 404
        client.http.close()


def test_a_durable_redis_killed_and_started_again_is_not_noticed_by_readers() -> None:
    """D32."""
    with EmbeddedValkey(persistent=True) as durable, BridgeProcess(durable.url) as process:
        store = TcpStore(durable.url)
        client = Browser(process.url)
        with Work(store) as work, client.read() as reader:
            attempt = work.claim()
            seen = reader.take(2)
            work.say(attempt, "before ")
            durable.restart()
            work.say(attempt, "after")
            work.finish(attempt, "before after")
            seen += reader.rest()
            assert [frame.id for frame in seen] == work.ids()
        assert text_of(seen) == "before after"
        client.http.close()
        store.close()
