"""The stand-in speaks Upstash's REST protocol: to the real client, and to raw HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from upstash_redis import Redis
from upstash_redis.errors import UpstashError

from devstack.upstash.server import UpstashStandIn
from shared.state.store import RestStore, Store


@pytest.fixture
def sdk(upstash: UpstashStandIn) -> Iterator[Redis]:
    """Upstash's own client."""
    with Redis(upstash.url, upstash.token, rest_retries=0) as client:
        yield client


@pytest.fixture
def http(upstash: UpstashStandIn) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {upstash.token}"}
    with httpx.Client(base_url=upstash.url, headers=headers, trust_env=False) as client:
        yield client


def _bill(http: httpx.Client) -> dict[str, Any]:
    bill: dict[str, Any] = http.get("/dev/meter").json()
    return bill


# -- with the real client ------------------------------------------------------------------------------------


def test_the_real_client_reads_what_it_wrote(sdk: Redis) -> None:
    assert sdk.set("key", "OK 简历 🧑‍💻")
    assert sdk.get("key") == "OK 简历 🧑‍💻"
    sdk.hset("hash", values={"a": "1", "b": "2"})
    assert sdk.hgetall("hash") == {"a": "1", "b": "2"}
    assert sdk.xadd("stream", "5-1", {"e": "x"}) == "5-1"
    assert json.loads(json.dumps(sdk.xrange("stream"))) == [["5-1", ["e", "x"]]]


def test_the_real_client_reads_unencoded_answers_too(upstash: UpstashStandIn) -> None:
    with Redis(upstash.url, upstash.token, rest_encoding=None, rest_retries=0) as plain:
        plain.set("key", "värde")
        assert plain.get("key") == "värde"


def test_the_real_client_runs_pipelines_transactions_and_scripts(sdk: Redis) -> None:
    pipeline = sdk.pipeline()
    pipeline.set("n", 1)
    pipeline.incr("n")
    assert pipeline.exec() == [True, 2]
    transaction = sdk.multi()
    transaction.incr("n")
    transaction.get("n")
    assert transaction.exec() == [3, "3"]
    assert sdk.eval("return {KEYS[1], ARGV[1]}", keys=["k"], args=["a"]) == ["k", "a"]
    sha1 = sdk.script_load("return 7")
    assert sdk.evalsha(sha1) == 7


def test_the_real_client_sees_redis_s_error(sdk: Redis) -> None:
    sdk.set("text", "no number")
    with pytest.raises(UpstashError, match="ERR value is not an integer or out of range"):
        sdk.incr("text")
    with pytest.raises(UpstashError, match="WRONGTYPE Operation against a key"):
        sdk.lpush("text", "x")
    with pytest.raises(UpstashError, match="NOSCRIPT No matching script"):
        sdk.evalsha("0" * 40)


def test_the_real_client_s_sync_token_comes_back(sdk: Redis, upstash: UpstashStandIn) -> None:
    sdk.set("key", "value")
    sdk.get("key")
    assert [request.headers["upstash-sync-token"] for request in upstash.requests] == ["", "sync-1"]


def test_a_compare_and_delete_is_translated_for_valkey(sdk: Redis) -> None:
    sdk.set("lock", "mine")
    assert sdk.execute(["DELEX", "lock", "IFEQ", "theirs"]) == 0
    assert sdk.execute(["delex", "lock", "ifeq", "mine"]) == 1
    assert sdk.get("lock") is None


@pytest.mark.parametrize(
    "shebang",
    [
        "#!lua flags=allow-key-locking",
        "#!lua flags=allow-key-locking,no-writes",
        "#!lua flags=no-writes",
        "-- x",
    ],
)
def test_a_script_may_ask_for_upstash_s_key_locking(shebang: str, sdk: Redis) -> None:
    assert sdk.eval(f"{shebang}\nreturn redis.call('EXISTS', KEYS[1])", keys=["k"]) == 0


def test_flags_other_than_key_locking_are_kept(sdk: Redis) -> None:
    script = "#!lua flags=allow-key-locking,no-writes\nreturn redis.call('SET', KEYS[1], '1')"
    with pytest.raises(UpstashError, match="read-only script"):
        sdk.eval(script, keys=["k"])


@pytest.mark.parametrize(
    "command",
    [
        ["BLPOP", "list", 0],
        ["xread", "BLOCK", 1000, "STREAMS", "s", "$"],
        ["XREADGROUP", "GROUP", "g", "c", "block", 0, "STREAMS", "s", ">"],
        ["SUBSCRIBE", "channel"],
        ["WATCH", "key"],
        ["MULTI"],
    ],
    ids=lambda command: command[0],
)
def test_what_would_hold_a_request_or_a_connection_is_refused(command: list[Any], sdk: Redis) -> None:
    with pytest.raises(UpstashError, match=f"Command is not available: '{command[0].upper()}'"):
        sdk.execute(command)


# -- the protocol itself -------------------------------------------------------------------------------------


def test_without_the_token_nothing_runs(upstash: UpstashStandIn, http: httpx.Client, store: Store) -> None:
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
        answer = http.post("/", json=["SET", "key", "value"], headers=headers)
        assert answer.status_code == 401
        assert set(answer.json()) == {"error"}
    assert store.command("EXISTS", "key") == 0
    assert httpx.get(f"{upstash.url}/set/key/value?_token={upstash.token}").json() == {"result": "OK"}


@pytest.mark.parametrize(
    ("method", "target", "body", "stored"),
    [
        ("GET", "/set/key/a%2Fb%20c/EX/100", None, "a/b c"),
        ("POST", "/set/key?EX=100", b'{"json": "value"}', '{"json": "value"}'),
        ("PUT", "/SET/key?EX=100&NX", b"text", "text"),
    ],
)
def test_a_command_may_stand_in_the_path(
    method: str, target: str, body: bytes | None, stored: str, http: httpx.Client, store: Store
) -> None:
    assert http.request(method, target, content=body).json() == {"result": "OK"}
    assert store.command("GET", "key") == stored
    assert 90 < store.command("TTL", "key") <= 100


def test_strings_are_base64_when_asked_except_ok(http: httpx.Client) -> None:
    headers = {"Upstash-Encoding": "base64"}
    assert http.post("/", json=["SET", "key", "bar"], headers=headers).json() == {"result": "OK"}
    assert http.get("/get/key", headers=headers).json() == {"result": "YmFy"}
    assert http.get("/get/key").json() == {"result": "bar"}
    assert http.post("/", json=["MGET", "key", "none"], headers=headers).json() == {"result": ["YmFy", None]}


def test_bytes_that_are_no_text_survive_in_base64_only(http: httpx.Client) -> None:
    http.post("/set/key", content=b"\xff\x00")
    assert http.get("/get/key", headers={"Upstash-Encoding": "base64"}).json() == {"result": "/wA="}
    assert http.get("/get/key").json() == {"result": "\ufffd\x00"}


def test_a_pipeline_has_an_outcome_for_each_command(http: httpx.Client) -> None:
    rows = [["SET", "a", "x"], ["INCR", "a"], ["BLPOP", "l", 0], [], ["GET", "a"]]
    answer = http.post("/pipeline", json=rows)
    assert answer.status_code == 200
    assert answer.json() == [
        {"result": "OK"},
        {"error": "ERR value is not an integer or out of range"},
        {"error": "ERR Command is not available: 'BLPOP'"},
        {"error": "ERR failed to parse command request"},
        {"result": "x"},
    ]


def test_a_transaction_runs_whole_or_is_discarded_with_one_error(http: httpx.Client, store: Store) -> None:
    rows = [["SET", "a", "x"], ["INCR", "a"], ["GET", "a"]]
    assert http.post("/multi-exec", json=rows).json() == [
        {"result": "OK"},
        {"error": "ERR value is not an integer or out of range"},
        {"result": "x"},
    ]
    for broken in (["BLPOP", "l", 0], ["GET"], []):
        answer = http.post("/multi-exec", json=[["SET", "b", "x"], broken])
        assert answer.status_code == 400
        assert set(answer.json()) == {"error"}
    assert store.command("EXISTS", "b") == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b"[]", b'["GET", null]', b'["GET", true]', b'["GET", ["a"]]']
)
def test_a_body_that_is_no_command_is_400(body: bytes, http: httpx.Client) -> None:
    answer = http.post("/", content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


def test_an_unknown_method_is_405_and_an_oversized_request_is_refused(http: httpx.Client) -> None:
    assert http.patch("/get/key").status_code == 405
    answer = http.post("/", content=json.dumps(["SET", "key", "x" * 10_500_000]))
    assert answer.status_code == 400
    assert "max request size exceeded" in answer.json()["error"]


# -- the bill ------------------------------------------------------------------------------------------------


def test_the_bill_counts_each_command_of_a_pipeline_and_each_call_of_a_script(http: httpx.Client) -> None:
    """An EVAL is billed, and so is every command it calls; PING is not."""
    http.delete("/dev/meter")
    http.post("/", json=["PING"])
    http.post("/pipeline", json=[["SET", "a", "1"], ["GET", "a"]])
    http.post("/multi-exec", json=[["GET", "a"]])
    script = "redis.call('INCR', KEYS[1]); redis.call('INCR', KEYS[1]); return redis.call('GET', KEYS[1])"
    http.post("/", json=["EVAL", script, 1, "a"])
    assert _bill(http) == {
        "billed": 7,
        "commands": {"eval": 1, "get": 3, "incr": 2, "set": 1},
        "sent": {"eval": 1, "get": 2, "set": 1},
        "roundTrips": 4,
    }


def test_a_reset_starts_a_new_bill(http: httpx.Client) -> None:
    http.post("/", json=["SET", "a", "1"])
    assert _bill(http)["billed"] > 0
    assert http.delete("/dev/meter").json() == {"billed": 0, "commands": {}, "sent": {}, "roundTrips": 0}


def test_a_token_batch_is_one_billed_command(rest_store: RestStore, http: httpx.Client) -> None:
    """Not two round trips, one of them to a channel that nobody reads (D30)."""
    http.delete("/dev/meter")
    rest_store.command("XADD", "stream", "MAXLEN", "~", 10_000, "5-1", "e", "{}")
    assert _bill(http) == {"billed": 1, "commands": {"xadd": 1}, "sent": {"xadd": 1}, "roundTrips": 1}


# -- as a process --------------------------------------------------------------------------------------------


def test_it_runs_as_a_process_of_its_own_and_ends_on_sigterm(redis_url: str) -> None:
    arguments = ["--port", "0", "--redis", redis_url, "--token", "t"]
    with subprocess.Popen(
        [sys.executable, "-m", "devstack.upstash", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        store = RestStore(url, "t")
        assert store.command("PING") == "PONG"
        store.close()
        process.terminate()
        assert process.wait(timeout=20) == 0
