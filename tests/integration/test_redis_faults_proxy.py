"""The proxy does what it is told, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.proxy import RedisProxy
from devstack.valkey import EmbeddedValkey
from shared.errors import StoreUnavailable
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.scripts import load_script
from shared.state.store import CommandRefused, Store, TcpStore
from tests.integration.transitions_kit import poll


@pytest.fixture
def proxy(valkey: EmbeddedValkey, redis_url: str) -> Iterator[RedisProxy]:
    with RedisProxy(valkey.port) as running:
        yield running


@pytest.fixture
def through(proxy: RedisProxy) -> Iterator[Store]:
    """A store whose way to Redis leads through the proxy."""
    opened = TcpStore(proxy.url)
    yield opened
    opened.close()


def test_without_a_fault_everything_passes_unchanged(through: Store) -> None:
    text = "a\r\n$3\r\nb 很好 🎯" * 20_000
    assert through.command("SET", "key", text) == "OK"
    assert through.command("GET", "key") == text
    assert through.command("GET", "nothing") is None
    assert through.pipeline([["RPUSH", "list", "a", "b"], ["LRANGE", "list", 0, -1]]) == [2, ["a", "b"]]
    with pytest.raises(CommandRefused, match="WRONGTYPE"):
        through.command("INCR", "list")


def test_only_the_nth_command_of_a_name_is_cut(proxy: RedisProxy, through: Store, store: Store) -> None:
    lost = proxy.cut("INCR", nth=2, times=2)
    assert through.command("INCR", "n") == 1
    with pytest.raises(StoreUnavailable):
        through.command("INCR", "n")
    assert store.command("GET", "n") == "1"
    assert through.command("INCR", "n") == 2
    assert (lost.hits, proxy.passed("INCR")) == (2, 2)


def test_what_is_cut_after_it_was_executed_has_happened(
    proxy: RedisProxy, through: Store, store: Store
) -> None:
    proxy.cut("INCR", when="after", times=2)
    with pytest.raises(StoreUnavailable):
        through.command("INCR", "n")
    assert store.command("GET", "n") == "2"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_held_command_ends_with_its_clients_patience(proxy: RedisProxy, when: str, store: Store) -> None:
    impatient = TcpStore(proxy.url, answer_timeout_seconds=0.1)
    proxy.hold("INCR", when="after" if when == "after" else "before")
    with pytest.raises(StoreUnavailable):
        impatient.command("INCR", "n")
    poll(lambda: proxy.connections == 0)
    assert store.command("GET", "n") == ("1" if when == "after" else None)
    impatient.close()


def test_a_stalled_network_delivers_everything_once_it_flows(
    proxy: RedisProxy, through: Store, store: Store
) -> None:
    impatient = TcpStore(proxy.url, answer_timeout_seconds=0.1)
    assert through.command("PING") == "PONG"
    proxy.stall()
    with pytest.raises(StoreUnavailable):
        impatient.command("SET", "key", "late")
    assert store.command("GET", "key") is None
    proxy.resume()
    poll(lambda: store.command("GET", "key") == "late")
    assert through.command("PING") == "PONG"
    impatient.close()


def test_answers_in_the_servers_place_keep_their_turn_in_a_pipeline(
    proxy: RedisProxy, through: Store, store: Store
) -> None:
    refused = proxy.answer("INCR", "READONLY You can't write against a read only replica.")
    with pytest.raises(StoreUnavailable, match="READONLY"):
        through.pipeline([["SET", "a", 1], ["INCR", "a"], ["SET", "b", 2]])
    assert store.pipeline([["GET", "a"], ["GET", "b"]]) == ["1", "2"]
    assert refused.hits == 1


def test_delayed_replies_arrive(proxy: RedisProxy, through: Store) -> None:
    proxy.delay("SET", seconds=0.01, when="after")
    assert through.command("SET", "key", 1) == "OK"


def test_while_it_refuses_nobody_gets_through(proxy: RedisProxy, through: Store) -> None:
    through.command("SET", "key", "value")
    proxy.refuse()
    with pytest.raises(StoreUnavailable):
        through.command("GET", "key")
    proxy.resume()
    assert through.command("GET", "key") == "value"


def test_after_a_failover_it_leads_to_the_other_server(
    proxy: RedisProxy, through: Store, own_valkey: EmbeddedValkey
) -> None:
    through.command("SET", "key", "here")
    proxy.lead_to(own_valkey.port)
    assert through.command("GET", "key") is None
    own_valkey.kill()
    with pytest.raises(StoreUnavailable):
        through.command("GET", "key")


def test_the_lost_reply_of_a_script_is_the_one_that_says_what_it_did(
    proxy: RedisProxy, through: Store, store: Store
) -> None:
    """Not the one that says that Redis does not know it."""
    store.command("SCRIPT", "FLUSH")
    lost = proxy.cut("list_overdue", when="after", times=2)
    with pytest.raises(StoreUnavailable):
        through.script(load_script("list_overdue"), keys.of_transition(TaskRef("", "", "")), [1])
    assert (lost.hits, proxy.passed("EVAL"), proxy.passed("EVALSHA")) == (2, 2, 1)
