"""Users' tokens and stream tokens: what each opens, and that neither is ever taken for the other."""

from __future__ import annotations

import base64
import json
import time
import warnings
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import STREAM_AUDIENCE, STREAM_TYPE, StreamAccess, StreamTokens
from shared.errors import AuthRequired
from tests.unit.auth_kit import SECRET, bearer, by_secret, refused, token

STREAM_SECRET = "a secret of stream tokens, 32 bytes and more"
OTHER_SECRET = "another secret, which takes the first one's place"
DEEP = base64.urlsafe_b64encode(b'{"alg":"HS256","a":' + b"[" * 8_000).decode().rstrip("=")
"""JSON nested more deeply than Python takes, within what a token may be long."""
PAST, FUTURE = 1_000_000_000, 4_000_000_000


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
        f"Bearer {DEEP}.e30.AA",
        f"Bearer eyJhbGciOiJIUzI1NiJ9.{DEEP}.AA",
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
        {"exp": float("inf")},
        {"exp": float("-inf")},
        {"exp": float("nan")},
        {"nbf": float("inf")},
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


def test_a_token_by_the_second_secret_is_as_good_and_one_by_neither_is_refused() -> None:
    tokens = by_secret(second=OTHER_SECRET)
    assert tokens.user_id(bearer(token(SECRET))) == tokens.user_id(bearer(token(OTHER_SECRET))) == "user-1"
    refused(tokens, bearer(token(SECRET + "!")))
    refused(by_secret(), bearer(token(OTHER_SECRET)))


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_whichever_secret_signed_an_expired_token_it_is_called_expired(secret: str) -> None:
    with pytest.raises(AuthRequired, match="expired"):
        by_secret(second=OTHER_SECRET).user_id(bearer(token(secret, exp=PAST)))


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_whichever_secret_signed_a_token_its_claims_are_checked(secret: str) -> None:
    tokens = by_secret(second=OTHER_SECRET, issuer="https://id.example", audience="sluice")
    refused(tokens, bearer(token(secret, iss="https://id.example")))
    refused(tokens, bearer(token(secret, aud="sluice")))


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
    with pytest.raises(ValueError, match="empty"):
        StreamTokens(STREAM_SECRET, second="")
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


# Stream tokens


def test_a_stream_token_opens_its_channel_for_its_user() -> None:
    tokens = StreamTokens(STREAM_SECRET, 60)
    assert tokens.check(tokens.issue("auth0|张三", "s1", "t1"), "s1", "t1") == "auth0|张三"


def test_a_stream_token_carries_the_trace_of_its_task_and_drops_what_is_none() -> None:
    tokens, trace = StreamTokens(SECRET, 60), f"00-{'a' * 32}-{'b' * 16}-01"
    assert tokens.open(tokens.issue("u1", "s1", "t1", trace), "s1", "t1") == StreamAccess("u1", "t1", trace)
    for none in (None, "", "not a trace"):
        assert tokens.open(tokens.issue("u1", "s1", "t1", none), "s1", "t1").traceparent is None


def test_without_a_trace_a_stream_token_is_no_longer_than_its_channel_needs() -> None:
    tokens = StreamTokens(SECRET, 60, clock=lambda: 1_700_000_000)
    assert tokens.issue("u1", "s1", "t1", None) == tokens.issue("u1", "s1", "t1")


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
    "text",
    [None, "", "a.b.c", f"{DEEP}.e30.AA", "é", "\ud800", "A" * 20_000],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_stream_token_opens_nothing(text: str | None) -> None:
    """D35: no token, no stream."""
    with pytest.raises(AuthRequired):
        StreamTokens(STREAM_SECRET, 60).check(text, "s1", "t1")


def test_a_stream_token_by_another_secret_opens_nothing() -> None:
    with pytest.raises(AuthRequired):
        StreamTokens(STREAM_SECRET).check(StreamTokens(SECRET, 60).issue("u", "s1", "t1"), "s1", "t1")


def test_a_stream_token_by_the_second_secret_is_as_good_and_new_ones_are_made_with_the_first() -> None:
    both = StreamTokens(STREAM_SECRET, 60, second=OTHER_SECRET)
    assert both.check(StreamTokens(OTHER_SECRET, 60).issue("u", "s1", "t1"), "s1", "t1") == "u"
    issued = both.issue("u", "s1", "t1")
    assert both.check(issued, "s1", "t1") == StreamTokens(STREAM_SECRET).check(issued, "s1", "t1") == "u"
    for tokens, foreign in ((StreamTokens(OTHER_SECRET), both), (both, StreamTokens(SECRET, 60))):
        with pytest.raises(AuthRequired):
            tokens.check(foreign.issue("u", "s1", "t1"), "s1", "t1")


def test_a_stream_token_by_the_second_secret_opens_no_other_channel_and_ends_too() -> None:
    both = StreamTokens(STREAM_SECRET, second=OTHER_SECRET)
    with pytest.raises(AuthRequired):
        both.check(StreamTokens(OTHER_SECRET, 60).issue("u", "s1", "t1"), "s1", "t2")
    with pytest.raises(AuthRequired, match="expired"):
        both.check(StreamTokens(OTHER_SECRET, 60, clock=lambda: 1).issue("u", "s1", "t1"), "s1", "t1")


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
