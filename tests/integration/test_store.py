"""The store answers alike over TCP and over REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.config import RedisSettings
from shared.errors import ConfigError
from shared.state.store import Arg, CommandRefused, RestStore, Store, TcpStore, open_store

TEXTS = ["", "OK", "null", "简历 résumé 🧑‍💻", 'quote " backslash \\', "line\r\nbreak\x00nul", "$-1\r\n"]

SETUP: list[list[Arg]] = [
    ["HSET", "hash", "a", 1, "b", "två"],
    ["ZADD", "zset", 1.5, "m", 1_700_000_000_123, "n"],
    ["RPUSH", "list", "x", "y"],
    ["SADD", "set", "one"],
    ["XADD", "stream", "5-1", "e", '{"type":"token_batch"}'],
    ["SET", "string", "value", "PX", 100_000],
]
READS: list[list[Arg]] = [
    ["HGETALL", "hash"],
    ["HGETALL", "missing"],
    ["HMGET", "hash", "a", "missing"],
    ["ZRANGE", "zset", 0, -1, "WITHSCORES"],
    ["ZSCORE", "zset", "n"],
    ["ZMSCORE", "zset", "m", "missing"],
    ["ZRANK", "zset", "missing"],
    ["LRANGE", "list", 0, -1],
    ["SMEMBERS", "set"],
    ["SISMEMBER", "set", "one"],
    ["XRANGE", "stream", "-", "+"],
    ["XREVRANGE", "stream", "+", "-", "COUNT", 1],
    ["XREAD", "COUNT", 10, "STREAMS", "stream", "0"],
    ["XREAD", "STREAMS", "stream", "9-9"],
    ["EXISTS", "string"],
    ["TYPE", "string"],
    ["GET", "missing"],
    ["SET", "string", "new", "NX"],
    ["PING"],
    ["SCAN", 0, "COUNT", 1000, "MATCH", "string"],
    ["CONFIG", "GET", "appendonly"],
]


@pytest.mark.parametrize("read", READS, ids=lambda read: " ".join(map(str, read)))
def test_both_stores_give_the_same_reply_in_the_shape_of_resp2(
    read: list[Arg], store: Store, rest_store: Store
) -> None:
    store.pipeline(SETUP)
    assert rest_store.command(*read) == store.command(*read)


def test_a_hash_is_a_flat_list_and_a_missing_key_is_none(each_store: Store) -> None:
    each_store.command("HSET", "hash", "a", "1", "b", "2")
    assert each_store.command("HGETALL", "hash") == ["a", "1", "b", "2"]
    assert each_store.command("GET", "missing") is None


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_as_it_went_in(text: str, each_store: Store) -> None:
    assert each_store.command("SET", "key", text) == "OK"
    assert each_store.command("GET", "key") == text


@pytest.mark.parametrize(
    ("arg", "stored"), [(7, "7"), (2**53 + 1, "9007199254740993"), (1.5, "1.5"), (b"\xc3\xa5", "å")]
)
def test_numbers_and_bytes_are_stored_as_their_text(arg: Arg, stored: str, each_store: Store) -> None:
    each_store.command("SET", "key", arg)
    assert each_store.command("GET", "key") == stored


@pytest.mark.parametrize("arg", [None, True, ["a"], {"a": 1}])
def test_what_is_no_text_and_no_number_is_refused_before_it_is_sent(arg: Arg, each_store: Store) -> None:
    with pytest.raises(TypeError):
        each_store.command("SET", "key", arg)
    assert each_store.command("GET", "key") is None


def test_bytes_that_are_no_text_are_refused_by_both_because_rest_cannot_carry_them(each_store: Store) -> None:
    with pytest.raises(UnicodeDecodeError):
        each_store.command("SET", "key", b"\xff")


def test_a_value_of_five_megabytes_passes(each_store: Store) -> None:
    text = "简" * 1_700_000
    each_store.command("SET", "key", text)
    assert each_store.command("GET", "key") == text


def test_a_pipeline_answers_in_order(each_store: Store) -> None:
    replies = each_store.pipeline([["SET", "a", "1"], ["INCR", "a"], ["GET", "missing"], ["HGETALL", "none"]])
    assert replies == ["OK", 2, None, []]


def test_an_empty_pipeline_asks_nothing(each_store: Store) -> None:
    assert each_store.pipeline([]) == []


def test_a_pipeline_runs_to_its_end_and_raises_for_the_first_command_that_failed(each_store: Store) -> None:
    each_store.command("SET", "text", "no number")
    with pytest.raises(CommandRefused, match="not an integer"):
        each_store.pipeline([["SET", "a", "1"], ["INCR", "text"], ["LPUSH", "text", "x"], ["SET", "b", "2"]])
    assert each_store.pipeline([["GET", "a"], ["GET", "b"]]) == ["1", "2"]


def test_a_refusal_says_what_redis_said(each_store: Store) -> None:
    each_store.command("XADD", "stream", "5-1", "e", "1")
    with pytest.raises(CommandRefused) as refused:
        each_store.command("XADD", "stream", "5-1", "e", "1")
    assert str(refused.value) == (
        "The ID specified in XADD is equal or smaller than the target stream top item"
    )
    with pytest.raises(CommandRefused, match=r"^WRONGTYPE "):
        each_store.command("GET", "stream")


def test_a_store_serves_many_threads_without_mixing_their_answers(each_store: Store) -> None:
    def work(thread: int) -> list[object]:
        answers: list[object] = []
        for i in range(60):
            answers.append(each_store.command("ECHO", f"{thread}/{i}"))
            answers.extend(each_store.pipeline([["INCR", f"count:{thread}"], ["ECHO", f"{thread}"]]))
        return answers

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(work, range(8)))
    for thread, answers in enumerate(results):
        assert answers == [a for i in range(60) for a in (f"{thread}/{i}", i + 1, f"{thread}")]


def test_a_closed_store_opens_again_when_it_is_used(redis_url: str) -> None:
    store = TcpStore(redis_url)
    store.command("SET", "a", "1")
    store.close()
    assert store.command("GET", "a") == "1"
    store.close()


def test_the_settings_choose_the_store_and_nothing_is_connected_yet() -> None:
    tcp = open_store(RedisSettings(url="redis://127.0.0.1:1/0"))
    rest = open_store(RedisSettings(url=None, rest_url="http://127.0.0.1:1", rest_token="t"))
    assert isinstance(tcp, TcpStore)
    assert isinstance(rest, RestStore)
    tcp.close()
    rest.close()
    with pytest.raises(ConfigError, match="REDIS_URL"):
        open_store(RedisSettings(url=None))
