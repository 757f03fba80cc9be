"""Unmistakable values in every secret, every command, failures too: nothing that is said or kept has one in it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.unit.deployment.command_kit import Command
from tests.unit.deployment.world_kit import USERS, VALUES, World, copied, key, released

GIVEN = "a planted+value/of=the test & nothing else"
TOKEN = "a planted token & of the test/+="


@pytest.fixture(scope="module")
def first_release() -> World:
    return released()


@pytest.fixture
def world(first_release: World) -> World:
    return copied(first_release)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def spellings(value: str) -> Iterator[str]:
    """Yield a value as it could get somewhere, whole or in part."""
    for each in (value, value[: len(value) // 2], value[len(value) // 2 :]):
        yield each
        yield quote(each, safe="")
        yield each.encode().hex()
        for shift in range(3):  # base64 of it at any place of a longer text
            encoded = base64.b64encode(b"x" * shift + each.encode()).decode()
            inner = encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def planted(world: World) -> set[str]:
    """Return every value that any secret ever had, and every key of QStash's."""
    values = {value for versions in world.store.held.values() for value in versions} | {GIVEN, TOKEN}
    return values | {key(number) for number in range(1, world.qstash.number + 3)}


def found_in(text: str, world: World) -> set[str]:
    lowered = text.lower()
    return {value for value in planted(world) for each in spellings(value) if each.lower() in lowered}


@pytest.mark.parametrize(
    "value", [VALUES[USERS], GIVEN, TOKEN, "c" * 40], ids=["a secret", "given", "token", "uniform"]
)
@pytest.mark.parametrize(
    "hidden",
    [
        lambda value: f"the value is {value}!",
        lambda value: value[len(value) // 2 :],
        lambda value: quote(value, safe=""),
        lambda value: base64.b64encode(f"a{value}".encode()).decode(),
        lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
        lambda value: value.encode().hex().upper(),
    ],
    ids=["plain", "half", "url", "base64", "base64url", "hex"],
)
def test_the_search_finds_a_value_however_it_is_hidden(world: World, hidden: object, value: str) -> None:
    world.store.put("planted", value, request_id="1")
    assert callable(hidden)
    assert value in found_in(hidden(value), world)


def test_no_command_that_works_says_or_keeps_a_value(world: World, command: Command, tmp_path: Path) -> None:
    world.qstash.tokens.add(TOKEN)
    plan = tmp_path / "plan.json"
    said = [
        command(world, *arguments, *more, given=given, status=status, INITIAL_QUOTA="9").all
        for more in ((), ("--json",))
        for arguments, given, status in (
            (("status",), "", 0),
            (("secrets", "list"), "", 0),
            (("rotate-keys", "--secret", "QSTASH_TOKEN"), TOKEN if more else VALUES["QSTASH_TOKEN"], 0),
            (("rotate-keys",), "", 0),
            (("rotate-keys", "--secret", "STREAM_TOKEN_SECRET"), "", 0),
            (("rotate-keys", "--secret", USERS), GIVEN + str(len(more)), 0),
            (("rotate-keys", "--secret", USERS, "--finish"), "", 0),
            (("rotate-keys", "--secret", "STREAM_TOKEN_SECRET", "--finish", "--now"), "", 0),
            (("secrets", "set", "DEEPSEEK_API_KEY"), GIVEN + str(more), 0),
            (("plan", "--out", str(plan)), "", 2),
            (("apply",), "", 0),
            (("drift",), "", 0),
            (("verify",), "", 0),
            (("stop", "paid_stream"), "", 0),
            (("start", "paid_stream"), "", 0),
            (("rollback", "--to", "2", "--present-secrets"), "", 0),
            (("releases",), "", 0),
        )
    ]
    kept = [stored.content.decode() for stored in world.bucket.held.values()]
    for text in (*said, *kept, plan.read_text()):
        assert found_in(text, world) == set()


def test_no_command_that_fails_says_or_keeps_a_value(world: World, command: Command) -> None:
    said: list[str] = []

    def failing(*arguments: str, given: str = "", **variables: str) -> None:
        said.extend(
            command(world, *arguments, *more, given=given, status=1, **variables).all
            for more in ((), ("--json",))
        )

    failing("rotate-keys", "--secret", "QSTASH_TOKEN", given=TOKEN)
    failing("rotate-keys", "--secret", USERS, given=VALUES[USERS])
    failing("secrets", "set", "NOTHING", given=GIVEN)
    failing("secrets", "set", USERS, given=f"{GIVEN}\n{GIVEN}\n")
    world.qstash.refuse = True
    failing("rotate-keys")
    world.qstash.refuse = False
    world.deaf.add("paid_stream")
    failing("verify")
    failing("rotate-keys")
    failing("apply", TASK_RETRIES="5")
    world.deaf.clear()
    world.store.held["QSTASH_TOKEN"].append(TOKEN)
    failing("apply")
    world.store.held["QSTASH_TOKEN"].append(VALUES["QSTASH_TOKEN"])
    world.qstash.away = True
    failing("apply")
    failing("rotate-keys")
    kept = [stored.content.decode() for stored in world.bucket.held.values()]
    for text in (*said, *kept):
        assert found_in(text, world) == set()
    assert all("Traceback" not in text for text in said)
