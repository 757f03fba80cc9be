"""Users' tokens by published keys: over real HTTP, from an issuer that rotates, fails, hangs and is lied about."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from devstack.frontend import until
from shared.auth import UserTokens
from shared.errors import AuthUnavailable
from shared.jwks import PublishedKeys, read_keys
from tests.logs_kit import Log, logging_to
from tests.unit.auth_kit import (
    EC_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    Issuer,
    bearer,
    by_url,
    public_jwk,
    refused,
    token,
)

NEW_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Clock:
    """A clock that stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.publish("rsa-1", RSA_KEY)
    issuer.publish("ec-1", EC_KEY)
    with issuer.serving():
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def by_kid(kid: str, key: Any = RSA_KEY) -> str:
    """Return a header with a token by an RSA key, under a key id."""
    return bearer(token(key, "RS256", headers={"kid": kid}))


def unavailable(tokens: UserTokens, header: str) -> None:
    with pytest.raises(AuthUnavailable):
        tokens.user_id(header)


# -- what a key opens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kid", "key", "alg"), [("rsa-1", RSA_KEY, "RS256"), ("ec-1", EC_KEY, "ES256")])
def test_a_token_by_a_published_key_proves_its_sub(issuer: Issuer, kid: str, key: Any, alg: str) -> None:
    assert by_url(issuer.url).user_id(bearer(token(key, alg, headers={"kid": kid}))) == "user-1"


def test_published_keys_are_fetched_once_for_many_tokens(issuer: Issuer) -> None:
    tokens = by_url(issuer.url)
    for _ in range(5):
        tokens.user_id(bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"})))
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("key", "alg", "headers"),
    [
        (OTHER_RSA_KEY, "RS256", {"kid": "rsa-1"}),
        (RSA_KEY, "RS256", {"kid": "ec-1"}),
        (EC_KEY, "ES256", {"kid": "rsa-1"}),
        (RSA_KEY, "RS512", {"kid": "rsa-1"}),
        (RSA_KEY, "PS256", {"kid": "rsa-1"}),
        (RSA_KEY, "RS256", {}),
        (SECRET, "HS256", {"kid": "rsa-1"}),
        (None, "none", {"kid": "rsa-1"}),
    ],
    ids=[
        "another's key",
        "kid of an EC key",
        "kid of an RSA key",
        "RS512",
        "PS256",
        "no kid",
        "HS256",
        "none",
    ],
)
def test_a_token_not_by_the_published_key_it_names_is_refused(
    issuer: Issuer, key: Any, alg: str, headers: dict[str, Any]
) -> None:
    refused(by_url(issuer.url), bearer(token(key, alg, headers=headers)))


def test_a_public_key_used_as_a_secret_opens_nothing(issuer: Issuer) -> None:
    """Key confusion: everybody knows the public key, so an HMAC by its text must prove nothing."""
    pem = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"rsa-1"}')
    signed = head + b"." + jwt.utils.base64url_encode(b'{"sub":"user-1"}')
    algorithm = jwt.get_algorithm_by_name("HS256")
    for secret in (pem, json.dumps(issuer.keys[0]).encode()):
        forged = signed + b"." + jwt.utils.base64url_encode(algorithm.sign(signed, secret))
        refused(by_url(issuer.url), bearer(forged.decode()))


def test_issuer_and_audience_hold_for_published_keys_too(issuer: Issuer) -> None:
    tokens = by_url(issuer.url, issuer="https://id.example", audience="sluice")
    right = {"iss": "https://id.example", "aud": "sluice"}
    assert tokens.user_id(bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"}, **right))) == "user-1"
    refused(tokens, bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"}, **(right | {"aud": "x"}))))


def test_an_issuer_that_is_away_is_503_with_a_time_to_come_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    with pytest.raises(AuthUnavailable) as raised:
        by_url(f"http://127.0.0.1:{port}/").user_id(bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"})))
    assert raised.value.status == 503
    assert raised.value.code == "store_unavailable"
    assert raised.value.retry_after_seconds


def test_nonsense_that_needs_no_key_is_refused_without_asking_the_issuer(issuer: Issuer) -> None:
    tokens = by_url(issuer.url)
    for header in (None, "Bearer a.b.c", bearer(token()), bearer(token(RSA_KEY, "RS256"))):
        refused(tokens, header)
    assert issuer.asked == 0


# -- keys that are of no use ---------------------------------------------------------------------------------

P384_KEY = ec.generate_private_key(ec.SECP384R1())
SHORT_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
RSA_JWK = public_jwk(RSA_KEY)


def test_a_key_of_another_algorithm_opens_nothing(issuer: Issuer) -> None:
    issuer.publish("rsa-512", RSA_KEY, alg="RS512")
    issuer.keys.append(
        json.loads(jwt.get_algorithm_by_name("ES384").to_jwk(P384_KEY.public_key())) | {"kid": "p384"}
    )
    tokens = by_url(issuer.url)
    refused(tokens, bearer(token(RSA_KEY, "RS512", headers={"kid": "rsa-512"})))
    refused(tokens, by_kid("rsa-512"))
    refused(tokens, bearer(token(P384_KEY, "ES384", headers={"kid": "p384"})))


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"use": ""}, {"use": ["sig"]}, {"kid": 7}, {"kid": None}], ids=str
)
def test_a_key_that_is_not_for_signing_or_has_no_name_opens_nothing(
    issuer: Issuer, members: dict[str, Any]
) -> None:
    issuer.publish("of-no-use", RSA_KEY)
    issuer.keys[-1] |= members
    refused(by_url(issuer.url), by_kid("of-no-use"))


def test_a_key_without_a_use_is_for_signing_too(issuer: Issuer) -> None:
    issuer.publish("rsa-2", RSA_KEY)
    del issuer.keys[-1]["use"]
    assert by_url(issuer.url).user_id(by_kid("rsa-2")) == "user-1"


def test_a_key_that_can_be_computed_opens_nothing(issuer: Issuer) -> None:
    issuer.publish("short", SHORT_KEY)
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        signed = by_kid("short", SHORT_KEY)
    refused(by_url(issuer.url), signed)


def test_a_symmetric_key_that_the_issuer_publishes_opens_nothing(issuer: Issuer) -> None:
    issuer.keys.append({"kty": "oct", "kid": "oct-1", "alg": "HS256", "k": "A" * 43})
    refused(by_url(issuer.url), bearer(token(b"\0" * 32, headers={"kid": "oct-1"})))


def test_entries_that_are_no_keys_spoil_no_others(issuer: Issuer) -> None:
    odd: list[Any] = [
        1, None, "rsa-1", [], {}, {"kty": "RSA"}, {"kty": "XYZ", "kid": "rsa-1"}, {"kty": ["RSA"], "kid": "a"},
        RSA_JWK | {"kid": "b", "n": 5}, RSA_JWK | {"kid": "c", "n": "!"}, RSA_JWK | {"kid": "d", "n": ""},
        RSA_JWK | {"kid": "e", "alg": "none"}, RSA_JWK | {"kid": "f", "alg": ["RS256"]},
        public_jwk(EC_KEY) | {"kid": "g", "x": public_jwk(EC_KEY)["y"]},
    ]  # fmt: skip
    issuer.keys[:0] = odd
    tokens = by_url(issuer.url)
    assert tokens.user_id(by_kid("rsa-1")) == "user-1"
    for kid in "abcdefg":
        refused(tokens, by_kid(kid))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.dictionaries(
    st.sampled_from([*RSA_JWK, "kid", "use", "alg", "crv", "x", "y", "d", "k", "p", "q"]), JSON
)


@given(document=st.binary() | st.builds(lambda value: json.dumps({"keys": value}).encode(), JSON))
def test_no_document_raises_anything_but_unavailable(document: bytes) -> None:
    with pytest.raises(AuthUnavailable):
        read_keys(document)


@given(changes=MEMBERS, kty=st.sampled_from(["RSA", "EC", "oct", "OKP", "AKP"]))
def test_no_entry_keeps_a_good_key_from_being_read(changes: dict[str, Any], kty: str) -> None:
    entry, good = {**RSA_JWK, "kty": kty, "kid": "odd", **changes}, {**RSA_JWK, "kid": "good"}
    assert "good" in read_keys(json.dumps({"keys": [entry, good]}).encode())


# -- how often the issuer is asked ---------------------------------------------------------------------------


def test_a_new_key_is_there_half_a_minute_after_the_last_question_at_the_latest(
    issuer: Issuer, clock: Clock
) -> None:
    tokens = by_url(issuer.url, clock=clock)
    tokens.user_id(by_kid("rsa-1"))
    issuer.publish("rsa-2", NEW_RSA_KEY)
    clock.now += 29
    refused(tokens, by_kid("rsa-2", NEW_RSA_KEY))
    clock.now += 2
    assert tokens.user_id(by_kid("rsa-2", NEW_RSA_KEY)) == "user-1"
    assert tokens.user_id(by_kid("rsa-1")) == "user-1"
    assert issuer.asked == 2


def test_a_key_that_was_withdrawn_opens_nothing_five_minutes_later(issuer: Issuer, clock: Clock) -> None:
    tokens = by_url(issuer.url, clock=clock)
    tokens.user_id(by_kid("rsa-1"))
    del issuer.keys[0]
    clock.now += 301
    refused(tokens, by_kid("rsa-1"))


def test_a_key_that_was_replaced_under_its_old_name_is_taken_with_the_next_set(
    issuer: Issuer, clock: Clock
) -> None:
    tokens = by_url(issuer.url, clock=clock)
    tokens.user_id(by_kid("rsa-1"))
    issuer.keys[0] = public_jwk(NEW_RSA_KEY) | {"kid": "rsa-1"}
    clock.now += 301
    refused(tokens, by_kid("rsa-1"))
    assert tokens.user_id(by_kid("rsa-1", NEW_RSA_KEY)) == "user-1"


def test_a_flood_of_made_up_key_ids_asks_twice_a_minute(issuer: Issuer, clock: Clock) -> None:
    tokens = by_url(issuer.url, clock=clock)
    for n in range(600):
        refused(tokens, by_kid(f"made-up-{n}", OTHER_RSA_KEY))
        clock.now += 0.2
    assert issuer.asked <= 5


def test_many_first_requests_at_once_ask_once(issuer: Issuer) -> None:
    tokens, start = by_url(issuer.url), threading.Barrier(20)

    def request(_: int) -> str:
        start.wait()
        return tokens.user_id(by_kid("rsa-1"))

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(request, range(20))) == {"user-1"}
    assert issuer.asked == 1


def test_a_key_that_is_known_waits_for_nobody_s_made_up_one(issuer: Issuer, clock: Clock) -> None:
    tokens = by_url(issuer.url, clock=clock)
    tokens.user_id(by_kid("rsa-1"))
    clock.now += 31
    asked, go_on = threading.Event(), threading.Event()

    def hold(request: Any) -> None:
        asked.set()
        go_on.wait(60)
        issuer._publish(request)

    issuer.answer = hold
    attacker = threading.Thread(target=refused, args=(tokens, by_kid("made-up")))
    attacker.start()
    assert asked.wait(30)
    assert attacker.is_alive()
    assert tokens.user_id(by_kid("rsa-1")) == "user-1"
    go_on.set()
    attacker.join()


# -- an issuer in trouble ------------------------------------------------------------------------------------


DEEP = b'{"keys":' + b"[" * 100_000


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"), (404, b'{"keys": []}'), (204, b""), (200, b""), (200, b"<html>"), (200, b"[]"), (200, b"null"),
        (200, b"{}"), (200, b'{"keys": []}'), (200, b'{"keys": {}}'), (200, b'{"keys": "rsa-1"}'),
        (200, b'{"keys": [1]}'), (200, b"\xff"), (200, DEEP),
    ],
    ids=lambda part: repr(part)[:20],
)  # fmt: skip
def test_an_issuer_that_answers_nonsense_is_unavailable_and_left_alone_for_a_while(
    issuer: Issuer, clock: Clock, status: int, body: bytes
) -> None:
    issuer.status, issuer.body = status, body
    tokens = by_url(issuer.url, clock=clock)
    for _ in range(3):
        unavailable(tokens, by_kid("rsa-1"))
    assert issuer.asked == 1
    issuer.status, issuer.body = 200, None
    clock.now += 6
    assert tokens.user_id(by_kid("rsa-1")) == "user-1"


def test_a_redirect_is_not_followed(issuer: Issuer) -> None:
    """Wherever it leads, it is not the issuer that was configured."""
    other = Issuer()
    other.publish("rsa-1", OTHER_RSA_KEY)
    with other.serving():
        issuer.status, issuer.headers = 302, {"Location": other.url}
        unavailable(by_url(issuer.url), by_kid("rsa-1", OTHER_RSA_KEY))
    assert other.asked == 0


def test_a_set_that_is_too_large_is_not_read(issuer: Issuer) -> None:
    issuer.body = b" " * 300_000 + json.dumps({"keys": issuer.keys}).encode()
    unavailable(by_url(issuer.url), by_kid("rsa-1"))


def test_a_set_without_an_end_is_not_read(issuer: Issuer) -> None:
    def never_end(request: Any) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not issuer.closing.is_set():
            request.wfile.write(b" " * 65_536)

    issuer.answer = never_end
    unavailable(by_url(issuer.url), by_kid("rsa-1"))


def test_nothing_is_unpacked(issuer: Issuer) -> None:
    """A thousand times as much may come out of it as was sent."""
    issuer.body = gzip.compress(json.dumps({"keys": issuer.keys}).encode())
    issuer.headers = {"Content-Encoding": "gzip"}
    unavailable(by_url(issuer.url), by_kid("rsa-1"))


def asked(issuer: Issuer) -> int:
    """Return how often an issuer was asked; a busy one gets to it when the asker has given up already."""
    until(lambda: issuer.asked or None, "the issuer to be asked", 30)
    return issuer.asked


@pytest.mark.parametrize("answer", ["say_nothing", "drip"])
def test_an_issuer_that_hangs_is_given_up_on_and_not_asked_again_meanwhile(
    issuer: Issuer, clock: Clock, answer: str
) -> None:
    """A byte now and then satisfies every time-out of a socket."""
    issuer.answer = getattr(issuer, answer)
    keys = PublishedKeys(issuer.url, clock=clock, timeout_seconds=0.2)
    for _ in range(2):
        with pytest.raises(AuthUnavailable):
            keys.find("rsa-1")
    assert asked(issuer) == 1


def test_while_a_download_drips_no_second_one_is_started(issuer: Issuer, clock: Clock) -> None:
    issuer.answer = issuer.drip
    keys = PublishedKeys(issuer.url, clock=clock, timeout_seconds=0.2)
    for _ in range(4):
        with pytest.raises(AuthUnavailable):
            keys.find("rsa-1")
        clock.now += 6
    assert asked(issuer) == 1


def test_known_keys_outlast_a_short_failure_and_come_back_after_a_long_one(
    issuer: Issuer, clock: Clock
) -> None:
    tokens = by_url(issuer.url, clock=clock)
    tokens.user_id(by_kid("rsa-1"))
    issuer.status = 503
    clock.now += 60
    refused(tokens, by_kid("made-up"))
    assert tokens.user_id(by_kid("rsa-1")) == "user-1"
    clock.now += 300
    unavailable(tokens, by_kid("rsa-1"))
    issuer.status = 200
    unavailable(tokens, by_kid("rsa-1"))
    clock.now += 6
    assert tokens.user_id(by_kid("rsa-1")) == "user-1"


def test_why_the_issuer_is_unavailable_is_in_the_log(issuer: Issuer) -> None:
    issuer.status = 503
    with logging_to(Log()) as log:
        unavailable(by_url(issuer.url), by_kid("rsa-1"))
    (line,) = log.told("issuer_keys_away")
    assert line["reason"] == "answered 503"
