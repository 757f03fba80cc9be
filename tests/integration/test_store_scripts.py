"""Scripts run atomically over both stores, and the loader puts what they share in front of them."""

from __future__ import annotations

import pytest

from devstack.upstash.server import UpstashStandIn
from shared.state import scripts
from shared.state.scripts import LUA_FOLDER, Script, load_script
from shared.state.store import CommandRefused, RestStore, Store

NESTED = Script("nested", "return {1, {2, {'x', false}}, {}, ARGV[1], KEYS[1]}")
COUNT = Script("count", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
NAMES = sorted(path.stem for path in LUA_FOLDER.glob("*.lua") if not path.stem.startswith("lib_"))


def test_a_script_gives_nested_lists_text_numbers_and_none(each_store: Store) -> None:
    assert each_store.script(NESTED, ["key"], ["arg"]) == [1, [2, ["x", None]], [], "arg", "key"]


def test_a_script_runs_again_after_redis_forgot_all_scripts(each_store: Store) -> None:
    assert each_store.script(COUNT, ["n"], [2]) == 2
    each_store.command("SCRIPT", "FLUSH")
    assert each_store.script(COUNT, ["n"], [3]) == 5


def test_over_tcp_a_script_that_redis_knows_is_not_sent_again(store: Store) -> None:
    store.script(COUNT, ["n"], [1])
    store.script(COUNT, ["n"], [1])
    stats = store.command("INFO", "commandstats")
    assert store.command("SCRIPT", "EXISTS", COUNT.sha1) == [1]
    assert "cmdstat_evalsha" in stats


def test_an_error_inside_a_script_is_a_refusal_with_its_text(each_store: Store) -> None:
    with pytest.raises(CommandRefused, match="out of coins"):
        each_store.script(Script("fails", "return redis.error_reply('ERR out of coins')"), [], [])
    each_store.command("LPUSH", "n", "x")
    with pytest.raises(CommandRefused, match="WRONGTYPE"):
        each_store.script(COUNT, ["n"], [1])


def test_over_rest_scripts_are_sent_whole_and_lock_only_their_own_keys(
    rest_store: RestStore, upstash: UpstashStandIn
) -> None:
    """EVALSHA may reach a replica without the script; without the flag Upstash locks the whole database."""
    rest_store.script(COUNT, ["n"], [1])
    body = upstash.requests[-1].body
    assert body.startswith(b'["EVAL","#!lua flags=allow-key-locking\\nreturn redis.call')


@pytest.mark.parametrize("name", NAMES)
def test_redis_compiles_every_script_of_the_product(name: str, store: Store) -> None:
    script = load_script(name)
    assert store.command("SCRIPT", "LOAD", script.source) == script.sha1


@pytest.mark.parametrize("name", NAMES)
def test_a_script_has_each_library_it_uses_in_front_once(name: str) -> None:
    own = (LUA_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    shared = (LUA_FOLDER / "lib_task.lua").read_text(encoding="utf-8")
    source = load_script(name).source
    assert source.endswith(own)
    assert source.count(shared) == own.count("-- uses: lib_task")


def test_a_script_is_read_once() -> None:
    assert load_script(NAMES[0]) is load_script(NAMES[0])


def test_a_script_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        scripts.load_script("no_such_script")
