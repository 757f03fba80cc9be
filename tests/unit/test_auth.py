"""Users' tokens and stream tokens: what each opens, and that neither is ever taken for the other."""

from __future__ import annotations

import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import STREAM_AUDIENCE, STREAM_TYPE, StreamTokens, UserTokens
from shared.errors import AuthRequired, AuthUnavailable
from shared.settings import AuthSettings

SECRET = "a secret of users' tokens, 32 bytes and more"
STREAM_SECRET = "a secret of stream tokens, 32 bytes and more"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PAST, FUTURE = 1_000_000_000, 4_000_000_000


def by_secret(secret: str = SECRET, *, issuer: str | None = None, audience: str | None = None) -> UserTokens:
    return UserTokens(AuthSettings(secret=secret, jwks_url=None, issuer=issuer, audience=audience))


def by_url(url: str, **configured: str) -> UserTokens:
    return UserTokens(
        AuthSettings(
            secret=None, jwks_url=url, issuer=configured.get("issuer"), audience=configured.get("audience")
        )
    )


def token(
    key: Any = SECRET, alg: str = "HS256", *, headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    return jwt.encode({"sub": "user-1"} | claims, key, algorithm=alg, headers=headers)


def bearer(token: str) -> str:
    return f"Bearer {token}"


class Issuer:
    """An issuer of users' tokens: publishes its keys over HTTP and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.body: bytes | None = None
        self.status = 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode() if issuer.body is None else issuer.body
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep the tests' output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def publish(self, kid: str, key: Any, **members: Any) -> None:
        algorithm = jwt.get_algorithm_by_name(
            "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        )
        jwk = json.loads(algorithm.to_jwk(key.public_key()))
        self.keys.append(jwk | {"kid": kid, "use": "sig"} | members)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.publish("rsa-1", RSA_KEY)
    issuer.publish("ec-1", EC_KEY)
    thread = threading.Thread(target=issuer.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield issuer
    issuer.server.shutdown()
    thread.join()
    issuer.server.server_close()


def refused(tokens: UserTokens, header: str | None) -> None:
    with pytest.raises(AuthRequired):
        tokens.user_id(header)


# Users' tokens by a shared secret


def test_a_user_token_proves_its_sub() -> None:
    assert by_secret().user_id(bearer(token(sub="auth0|张三"))) == "auth0|张三"


def test_the_scheme_is_read_in_any_case() -> None:
    assert by_secret().user_id(f"bEaReR   {token()}  ") == "user-1"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        token(),
        f"Basic {token()}",
        f"Bearer {token()} {token()}",
        "Bearer a.b.c",
        "Bearer é",
        "Bearer \ud800",
        f"Bearer {token()}\x00",
        "Bearer " + "A" * 20_000,
    ],
    ids=lambda header: repr(header)[:20],
)
def test_a_header_that_is_no_bearer_token_is_refused(header: str | None) -> None:
    refused(by_secret(), header)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["user-1"]},
        {"sub": "u" * 257},
        {"sub": "user\n1"},
        {"sub": "user\x001"},
        {"exp": PAST},
        {"exp": "soon"},
        {"exp": None},
        {"nbf": FUTURE},
        {"iat": FUTURE},
    ],
    ids=str,
)
def test_a_user_token_with_a_claim_that_is_wrong_is_refused(claims: dict[str, Any]) -> None:
    head, body = (
        jwt.utils.base64url_encode(b'{"alg":"HS256"}'),
        jwt.utils.base64url_encode(json.dumps({"sub": "user-1"} | claims).encode()),
    )
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = jwt.utils.base64url_encode(algorithm.sign(head + b"." + body, algorithm.prepare_key(SECRET)))
    refused(by_secret(), bearer(b".".join([head, body, signature]).decode()))


def test_a_token_without_sub_is_refused() -> None:
    refused(by_secret(), bearer(jwt.encode({"exp": time.time() + 60}, SECRET, algorithm="HS256")))


def test_an_expired_token_is_called_expired() -> None:
    with pytest.raises(AuthRequired, match="expired"):
        by_secret().user_id(bearer(token(exp=int(time.time()) - 60)))


def test_a_token_that_expired_within_the_leeway_is_accepted() -> None:
    assert by_secret().user_id(bearer(token(exp=int(time.time()) - 1))) == "user-1"


@pytest.mark.parametrize("alg", ["HS384", "HS512"])
def test_another_algorithm_with_the_right_secret_is_refused(alg: str) -> None:
    refused(by_secret(SECRET * 2), bearer(token(SECRET * 2, alg)))


def test_an_unsigned_token_is_refused() -> None:
    refused(by_secret(), bearer(token(None, "none")))


def test_a_token_by_another_secret_is_refused() -> None:
    refused(by_secret(), bearer(token(SECRET + "!")))


def test_an_audience_that_nobody_configured_is_not_asked_for() -> None:
    assert by_secret().user_id(bearer(token(aud="authenticated"))) == "user-1"


def test_issuer_and_audience_are_checked_when_they_are_configured() -> None:
    tokens = by_secret(issuer="https://id.example", audience="sluice")
    assert tokens.user_id(bearer(token(iss="https://id.example", aud=["sluice", "x"]))) == "user-1"
    refused(tokens, bearer(token()))
    refused(tokens, bearer(token(iss="https://id.example")))
    refused(tokens, bearer(token(aud="sluice")))
    refused(tokens, bearer(token(iss="https://id.example/", aud="sluice")))
    refused(tokens, bearer(token(iss="https://id.example", aud="sluice2")))


def test_a_short_secret_works_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signed = token(b"dev".ljust(32, b"\0"))
        assert by_secret("dev").user_id(bearer(signed)) == "user-1"
        StreamTokens("dev", 60).check(StreamTokens("dev", 60).issue("u", "s", "t"), "s", "t")


def test_an_empty_secret_is_no_secret() -> None:
    with pytest.raises(ValueError, match="empty"):
        StreamTokens("")
    refused(by_secret(""), bearer(token(b"\0" * 32)))


@given(header=st.none() | st.text() | st.text().map(lambda text: f"Bearer {text}"))
def test_no_header_raises_anything_but_auth_required(header: str | None) -> None:
    refused(by_secret(), header)


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)


@given(
    claims=st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "jti"]), JSON),
    head=st.dictionaries(st.sampled_from(["typ", "kid", "crit", "b64"]), JSON),
)
def test_no_signed_token_raises_anything_but_auth_required(
    claims: dict[str, Any], head: dict[str, Any]
) -> None:
    parts = [json.dumps({"alg": "HS256"} | head).encode(), json.dumps(claims).encode()]
    signed = b".".join(jwt.utils.base64url_encode(part) for part in parts)
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = jwt.utils.base64url_encode(algorithm.sign(signed, algorithm.prepare_key(SECRET)))
    try:
        user_id = by_secret().user_id(bearer(f"{signed.decode()}.{signature.decode()}"))
    except AuthRequired:
        return
    assert user_id == claims["sub"] != ""


# Users' tokens by published keys


@pytest.mark.parametrize(("kid", "key", "alg"), [("rsa-1", RSA_KEY, "RS256"), ("ec-1", EC_KEY, "ES256")])
def test_a_token_by_a_published_key_proves_its_sub(issuer: Issuer, kid: str, key: Any, alg: str) -> None:
    assert by_url(issuer.url).user_id(bearer(token(key, alg, headers={"kid": kid}))) == "user-1"


def test_published_keys_are_fetched_once_for_many_tokens(issuer: Issuer) -> None:
    tokens = by_url(issuer.url)
    for _ in range(5):
        tokens.user_id(bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"})))
    assert issuer.asked == 1


def test_unknown_key_ids_do_not_make_us_ask_again_and_again(issuer: Issuer) -> None:
    tokens = by_url(issuer.url)
    tokens.user_id(bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"})))
    for n in range(5):
        refused(tokens, bearer(token(RSA_KEY, "RS256", headers={"kid": f"made-up-{n}"})))
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


def test_a_published_key_of_another_algorithm_opens_nothing(issuer: Issuer) -> None:
    issuer.publish("rsa-512", RSA_KEY, alg="RS512")
    refused(by_url(issuer.url), bearer(token(RSA_KEY, "RS512", headers={"kid": "rsa-512"})))


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


def test_a_symmetric_key_that_the_issuer_publishes_opens_nothing(issuer: Issuer) -> None:
    issuer.keys.append({"kty": "oct", "kid": "oct-1", "alg": "HS256", "k": "A" * 43})
    refused(by_url(issuer.url), bearer(token(b"\0" * 32, headers={"kid": "oct-1"})))


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


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": []}'), (200, b"\xff"), (302, b"")],
)
def test_an_issuer_that_answers_nonsense_is_unavailable_and_left_alone_for_a_while(
    issuer: Issuer, status: int, body: bytes
) -> None:
    issuer.status, issuer.body = status, body
    tokens = by_url(issuer.url)
    for _ in range(3):
        with pytest.raises(AuthUnavailable):
            tokens.user_id(bearer(token(RSA_KEY, "RS256", headers={"kid": "rsa-1"})))
    assert issuer.asked == 1


def test_nonsense_that_needs_no_key_is_refused_without_asking_the_issuer(issuer: Issuer) -> None:
    tokens = by_url(issuer.url)
    for header in (None, "Bearer a.b.c", bearer(token()), bearer(token(RSA_KEY, "RS256"))):
        refused(tokens, header)
    assert issuer.asked == 0


# Stream tokens


def test_a_stream_token_opens_its_channel_for_its_user() -> None:
    tokens = StreamTokens(STREAM_SECRET, 60)
    assert tokens.check(tokens.issue("auth0|张三", "s1", "t1"), "s1", "t1") == "auth0|张三"


def test_whoever_only_checks_stream_tokens_needs_no_lifetime() -> None:
    issued = StreamTokens(STREAM_SECRET, 60).issue("u", "s1", "t1")
    assert StreamTokens(STREAM_SECRET).check(issued, "s1", "t1") == "u"


@pytest.mark.parametrize(("service_id", "task_id"), [("s2", "t1"), ("s1", "t2"), ("t1", "s1"), ("", "")])
def test_a_stream_token_opens_no_other_channel(service_id: str, task_id: str) -> None:
    """D35: an events stream must not be readable by whoever guesses its address."""
    tokens = StreamTokens(STREAM_SECRET, 60)
    with pytest.raises(AuthRequired):
        tokens.check(tokens.issue("u", "s1", "t1"), service_id, task_id)


@pytest.mark.parametrize(
    "text", [None, "", "a.b.c", "é", "\ud800", "A" * 20_000], ids=lambda text: repr(text)[:20]
)
def test_what_is_no_stream_token_opens_nothing(text: str | None) -> None:
    """D35: no token, no stream."""
    with pytest.raises(AuthRequired):
        StreamTokens(STREAM_SECRET, 60).check(text, "s1", "t1")


def test_a_stream_token_by_another_secret_opens_nothing() -> None:
    with pytest.raises(AuthRequired):
        StreamTokens(STREAM_SECRET).check(StreamTokens(SECRET, 60).issue("u", "s1", "t1"), "s1", "t1")


def test_a_stream_token_ends_with_its_lifetime() -> None:
    issued = StreamTokens(STREAM_SECRET, 60, clock=lambda: time.time() - 120).issue("u", "s1", "t1")
    with pytest.raises(AuthRequired, match="expired"):
        StreamTokens(STREAM_SECRET).check(issued, "s1", "t1")


def test_a_stream_token_never_ends_before_its_lifetime_does() -> None:
    issued = StreamTokens(STREAM_SECRET, 0.5, clock=lambda: 1000.25).issue("u", "s1", "t1")
    assert jwt.decode(issued, options={"verify_signature": False})["exp"] == 1001


STREAM_CLAIMS: dict[str, Any] = {
    "sub": "u", "svc": "s1", "tsk": "t1", "aud": STREAM_AUDIENCE, "exp": FUTURE,
}  # fmt: skip


@pytest.mark.parametrize("missing", STREAM_CLAIMS)
def test_a_stream_token_without_one_of_its_claims_opens_nothing(missing: str) -> None:
    claims = {name: value for name, value in STREAM_CLAIMS.items() if name != missing}
    forged = jwt.encode(claims, STREAM_SECRET, algorithm="HS256", headers={"typ": STREAM_TYPE})
    with pytest.raises(AuthRequired):
        StreamTokens(STREAM_SECRET).check(forged, "s1", "t1")


@pytest.mark.parametrize("alg", ["none", "HS512"])
def test_a_stream_token_by_another_algorithm_opens_nothing(alg: str) -> None:
    secret = STREAM_SECRET * 2
    key: Any = None if alg == "none" else secret
    forged = jwt.encode(STREAM_CLAIMS, key, algorithm=alg, headers={"typ": STREAM_TYPE})
    with pytest.raises(AuthRequired):
        StreamTokens(secret).check(forged, "s1", "t1")


@pytest.mark.parametrize("audience", [None, STREAM_AUDIENCE])
def test_a_stream_token_is_no_user_token_even_under_the_same_secret_and_audience(
    audience: str | None,
) -> None:
    refused(by_secret(audience=audience), bearer(StreamTokens(SECRET, 60).issue("u", "s1", "t1")))


def test_a_user_token_is_no_stream_token_even_under_the_same_secret_and_with_all_its_claims() -> None:
    with pytest.raises(AuthRequired):
        StreamTokens(SECRET).check(token(**STREAM_CLAIMS), "s1", "t1")
