"""A signed probe: it proves a function's path, keys and Redis, is refused as any delivery is, and leaves no trace."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from devstack.qstash.signing import DEV_KEYS, Keyring
from devstack.upstash.server import UpstashStandIn
from devstack.valkey import free_port
from shared.routing import Lane, templates_of
from shared.settings import SigningKeys
from shared.state import keys
from tests.integration.http.kit import ACTIONS_URL, World, lane_url

NONCE = "a-nonce_of-the-tests-0001"
OLD_KEY = "sig_0ldKeyThatWasRolledAway000000"
FUNCTIONS = [*(lane.value for lane in Lane), "actions"]
Signer = Callable[[str, bytes], str | None]


def probe_body(**changed: Any) -> bytes:
    return json.dumps({"v": 1, "probe": NONCE} | changed).encode()


def address(world: World, function: str) -> tuple[str, str]:
    """Return where a function is served, and the public address that a probe of it is signed for."""
    if function == "actions":
        return f"{world.actions_url}/callbacks/step", f"{ACTIONS_URL}/callbacks/step"
    lane = Lane(function)
    path = lane.path(templates_of(lane)[0])
    return world.worker_url(lane) + path, lane_url(lane) + path


def signer(key: str = DEV_KEYS.current, *, now_seconds: float | None = None) -> Signer:
    ring = Keyring(SigningKeys(current=key, next="unused"), random.Random())
    return lambda url, body: ring.sign(url, body, now_seconds=now_seconds or time.time())


def send(
    world: World,
    function: str,
    body: bytes | None = None,
    *,
    sign: Signer | None = None,
    to: str | None = None,
) -> httpx.Response:
    """Send a probe to `function`, signed for itself, or for the function `to`."""
    body = probe_body() if body is None else body
    served, public = address(world, function)
    signature = (sign or signer())(address(world, to)[1] if to else public, body)
    headers = {"Upstash-Signature": signature} if signature else {}
    return world.http.post(served, content=body, headers=headers)


def said(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "ok"}


# -- accepted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_probe_is_answered_with_the_functions_name_and_the_askers_nonce(
    world: World, function: str
) -> None:
    answer = send(world, function)
    assert answer.status_code == 200
    assert said(answer) == {"status": "probe", "function": function, "nonce": NONCE}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("lane", Lane)
def test_a_lane_takes_a_probe_at_each_of_its_paths(world: World, lane: Lane) -> None:
    for template in templates_of(lane):
        path = lane.path(template)
        signature = signer()(lane_url(lane) + path, probe_body())
        assert signature is not None
        answer = world.http.post(
            world.worker_url(lane) + path, content=probe_body(), headers={"Upstash-Signature": signature}
        )
        assert answer.json()["function"] == lane


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_probe_signed_with_the_next_key_is_accepted(world: World, function: str) -> None:
    """That it is tells whoever rotates keys that this function is ready for the roll."""
    assert send(world, function, sign=signer(DEV_KEYS.next)).status_code == 200


def test_a_probe_asks_redis_over_rest_too(upstash: UpstashStandIn, world: World) -> None:
    rest = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    world.change(REDIS_URL="", **rest)
    assert send(world, "paid_batch").status_code == 200
    world.change(UPSTASH_REDIS_REST_TOKEN="another token")  # for the next function that is started
    assert send(world, "free_batch").status_code == 503


# -- refused -----------------------------------------------------------------------------------------------------------

FORGERIES: Mapping[str, Signer] = {
    "unsigned": lambda url, body: None,
    "garbage": lambda url, body: "not.a.token",
    "with an old key": signer(OLD_KEY),
    "for another body": lambda url, body: signer()(url, body + b" "),
    "for the root": lambda url, body: signer()(url[: url.index("/", 8)], body),
    "long ago": signer(now_seconds=time.time() - 3600),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("sign", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_probe_that_is_not_qstashs_is_refused_as_any_delivery(
    world: World, function: str, sign: Signer
) -> None:
    answer = send(world, function, sign=sign)
    assert (answer.status_code, answer.json()["error"]) == (401, "bad_signature")


@pytest.mark.parametrize("signed_for", FUNCTIONS)
def test_a_probe_signed_for_one_function_is_refused_by_every_other(world: World, signed_for: str) -> None:
    statuses = {function: send(world, function, to=signed_for).status_code for function in FUNCTIONS}
    assert statuses == {function: 200 if function == signed_for else 401 for function in FUNCTIONS}


MALFORMED: Mapping[str, bytes] = {
    "a nonce that is too short": probe_body(probe="x" * 15),
    "a nonce that is too long": probe_body(probe="x" * 65),
    "a nonce that is not url-safe": probe_body(probe="x" * 16 + "/"),
    "a nonce with a line break": probe_body(probe="x" * 16 + "\n"),
    "a nonce that is no text": probe_body(probe=1234567890123456),
    "another version": probe_body(v=2),
    "no version": json.dumps({"probe": NONCE}).encode(),
    "a field too many": probe_body(taskId="t1"),
    "a long body": probe_body() + b" " * 300,
    "a list": json.dumps([{"v": 1, "probe": NONCE}]).encode(),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_probe_is_a_malformed_message(world: World, function: str, body: bytes) -> None:
    answer = send(world, function, body)
    assert (answer.status_code, answer.json()["error"]) == (489, "bad_message")
    assert answer.headers["Upstash-NonRetryable-Error"] == "true"


def test_only_the_callback_of_a_step_takes_probes(world: World) -> None:
    assert world.call_back("failure", probe_body()).status_code == 489


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_probe_of_a_function_that_does_not_reach_redis_says_when_to_come_back(
    world: World, function: str
) -> None:
    world.change(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    answer = send(world, function)
    assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


# -- without a trace ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_replayed_probe_is_answered_again_and_neither_leaves_a_trace(world: World, function: str) -> None:
    world.start()
    before = world.dump()
    served, public = address(world, function)
    signature = signer()(public, probe_body())
    assert signature is not None
    for _ in range(3):
        answer = world.http.post(served, content=probe_body(), headers={"Upstash-Signature": signature})
        assert answer.status_code == 200
    assert world.dump() == before
    assert len(world.qstash.published) == 1
    assert world.model.calls == []


def test_a_probe_sends_redis_a_ping_and_nothing_else(world: World) -> None:
    send(world, "paid_stream")  # the connection is open from now on
    world.store.command("CONFIG", "RESETSTAT")
    send(world, "paid_stream")
    lines = [line for line in world.store.command("INFO", "commandstats").splitlines() if "cmdstat_" in line]
    assert {line.split(":")[0] for line in lines} == {"cmdstat_ping", "cmdstat_config|resetstat"}


def test_a_probe_is_answered_while_every_slot_and_every_place_is_taken(world: World) -> None:
    world.change(DEEPSEEK_MAX_WORKERS="1", QUEUE_MAX_SIZE="1")
    _, publish = world.start()
    world.claim(publish)
    assert (world.slot_holders(), world.places()) == (1, 1)
    assert send(world, "paid_batch").status_code == 200
    assert (world.slot_holders(), world.store.command("ZCARD", keys.queue(Lane.PAID_BATCH))) == (1, 1)
