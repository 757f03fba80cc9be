"""The prober: a candidate goes live only when it lets in whom it should and refuses everybody else."""

from __future__ import annotations

import httpx
import pytest

from deployment.errors import ProbeFailed
from deployment.probing import SignedProber
from deployment.secret_store import SecretState, SecretStore
from deployment.states import FunctionState, SecretPin
from shared.settings import SigningKeys
from tests.unit.deployment.functions_kit import KEYS, STREAM_SECRET, USER_SECRET, Waiting, World

VALUES = {
    "QSTASH_CURRENT_SIGNING_KEY": KEYS.current,
    "QSTASH_NEXT_SIGNING_KEY": KEYS.next,
    "STREAM_TOKEN_SECRET": STREAM_SECRET,
    "AUTH_JWT_SECRET": USER_SECRET,
}
SIGNING = ("QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY")
HELD = {
    "actions": (*SIGNING, "AUTH_JWT_SECRET", "STREAM_TOKEN_SECRET"),
    "events": ("STREAM_TOKEN_SECRET",),
}
EVERYBODY = ["paid_stream", "free_batch", "actions", "events"]


class Secrets(SecretStore):
    """The environment's secrets; version 1 of each is all there is."""

    def read(self, pin: SecretPin) -> str:
        assert pin.version == "1"
        return VALUES[pin.name]

    def describe(self, names: object) -> dict[str, SecretState]:
        raise NotImplementedError

    def put(self, name: str, value: str, *, request_id: str) -> str:
        raise NotImplementedError

    def keep_only(self, pins: object) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError


def state_of(name: str) -> FunctionState:
    pins = {variable: SecretPin(variable, "1") for variable in HELD.get(name, SIGNING)}
    return FunctionState(name, "c0de", {}, pins, 512, 330, 8, "3.13", "x86_64")


def probe(world: World, name: str, waiting: Waiting | None = None) -> None:
    waiting = waiting or Waiting()
    with world.client() as client:
        prober = SignedProber(
            Secrets(),
            client,
            world.urls.__getitem__,
            log_of=lambda function: f"logs/{function}.log",
            wait=waiting.wait,
            clock=waiting.clock,
        )
        prober.probe(state_of(name), world.urls[name])


def failure(world: World, name: str) -> str:
    with pytest.raises(ProbeFailed) as failed:
        probe(world, name)
    text = str(failed.value)
    assert not any(secret in text for secret in VALUES.values())
    return text


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_function_that_does_all_it_should_passes(name: str) -> None:
    probe(World(), name)


@pytest.mark.parametrize("name", ["paid_stream", "actions"])
def test_a_candidate_is_asked_at_its_own_address_with_signatures_for_the_public_one(name: str) -> None:
    world = World()
    candidate = "https://candidate.example"
    world.functions[candidate] = world.functions[world.urls[name]]
    with world.client() as client:
        prober = SignedProber(
            Secrets(), client, world.urls.__getitem__, wait=Waiting().wait, clock=Waiting().clock
        )
        prober.probe(state_of(name), candidate)
    assert {request.url.host for request in world.requests} == {"candidate.example"}


@pytest.mark.parametrize("name", ["free_stream", "actions"])
@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (SigningKeys("sig_foreign", KEYS.next), "signed with the current key"),
        (SigningKeys(KEYS.current, "sig_foreign"), "signed with the next key"),
    ],
)
def test_a_function_that_lacks_a_key_does_not_pass(name: str, held: SigningKeys, asked: str) -> None:
    world = World()
    world.change(name, keys=held)
    text = failure(world, name)
    assert asked in text
    assert "401 (bad_signature)" in text


def test_a_lane_that_believes_to_be_at_anothers_address_does_not_pass() -> None:
    world = World()
    world.change("paid_batch", url=world.urls["free_batch"])
    assert "401 (bad_signature)" in failure(world, "paid_batch")


def test_another_function_at_the_candidates_address_does_not_pass() -> None:
    world = World()
    world.change("paid_batch", name="free_batch")
    assert "404 (not_found)" in failure(world, "paid_batch")


@pytest.mark.parametrize(
    "question", ["an unsigned probe", "a probe signed for", "a probe signed with an unknown key"]
)
def test_a_function_that_answers_whom_it_must_refuse_does_not_pass(question: str) -> None:
    """The right answer to everything: each question in turn is the one that tells."""
    world = World()
    probe(world, "paid_stream")
    asked = {"an unsigned probe": 2, "a probe signed for": 3, "a probe signed with an unknown key": 4}[
        question
    ]
    answers = 0

    def credulous(request: httpx.Request) -> httpx.Response:
        nonlocal answers
        answers += 1
        if answers > asked:
            return httpx.Response(200, json={"status": "probe", "function": "paid_stream"})
        return world.functions[world.urls["paid_stream"]].answer(request)

    with httpx.Client(transport=httpx.MockTransport(credulous)) as client:
        prober = SignedProber(
            Secrets(), client, world.urls.__getitem__, wait=Waiting().wait, clock=Waiting().clock
        )
        with pytest.raises(ProbeFailed, match=question):
            prober.probe(state_of("paid_stream"), world.urls["paid_stream"])


@pytest.mark.parametrize(
    ("name", "change", "asked"),
    [
        ("events", {"stream_secret": "another"}, "a token by STREAM_TOKEN_SECRET"),
        ("actions", {"user_secret": "another"}, "a token by AUTH_JWT_SECRET"),
    ],
)
def test_a_function_that_does_not_know_the_environments_tokens_does_not_pass(
    name: str, change: dict[str, str], asked: str
) -> None:
    world = World()
    world.change(name, **change)
    text = failure(world, name)
    assert asked in text
    assert "401 (auth_required)" in text


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_cold_start_is_waited_for(name: str) -> None:
    world, waiting = World(), Waiting()
    world.failures = [httpx.ConnectError, 502, 503, httpx.ReadTimeout, 429, 403]
    started = waiting.now
    probe(world, name, waiting)
    assert waiting.now > started


def test_a_function_that_never_answers_is_given_up_after_a_bounded_time_and_its_log_is_named() -> None:
    world, waiting = World(), Waiting()
    world.change("free_stream", status=503, body={"error": "store_unavailable"})
    with pytest.raises(ProbeFailed) as failed:
        probe(world, "free_stream", waiting)
    assert "503 (store_unavailable)" in str(failed.value)
    assert "logs/free_stream.log" in str(failed.value)
    assert "POST https://free-stream.example/free/stream/" in str(failed.value)


def test_a_refusal_is_final_and_not_asked_again() -> None:
    world = World()
    world.change("free_stream", keys=SigningKeys("sig_foreign", "sig_foreign"))
    failure(world, "free_stream")
    assert len(world.requests) == 1


def test_a_state_without_signing_keys_is_named() -> None:
    world = World()
    keyless = FunctionState("paid_stream", "c0de", {}, {}, 512, 330, 8, "3.13", "x86_64")
    with world.client() as client:
        prober = SignedProber(Secrets(), client, world.urls.__getitem__, clock=Waiting().clock)
        with pytest.raises(ProbeFailed, match="QSTASH_CURRENT_SIGNING_KEY"):
            prober.probe(keyless, world.urls["paid_stream"])
