"""The signature check: one row for each way of being wrong, on every lane's address, and nothing but SignatureError."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SignatureError
from shared.routing import Lane, Template, serves
from shared.settings import SigningKeys
from shared.signature import verify_signature

NOW = 1_790_000_000.0
KEYS = SigningKeys(current="sig_current_current_current_curr", next="sig_next_next_next_next_next_nex")
BODY = '{"taskId":"t1","userId":"张三"}'.encode()
BASES = {lane: f"https://{lane.replace('_', '-')}.example.com" for lane in Lane}
URLS = {(lane, t): BASES[lane] + lane.path(t) for lane in Lane for t in Template if serves(lane, t)}
LANE_URLS = {lane: next(url for (owner, _), url in URLS.items() if owner is lane) for lane in Lane}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def segment(value: object) -> str:
    return b64(json.dumps(value).encode())


def body_hash(body: bytes) -> str:
    """As QStash writes it: padded."""
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode()


@dataclass(frozen=True)
class Delivery:
    """A delivery as QStash would make it; a row of the table changes one thing of it."""

    url: str
    body: bytes = BODY
    signed_body: bytes | None = None
    key: str = KEYS.current
    head: dict[str, Any] = field(default_factory=lambda: {"alg": "HS256", "typ": "JWT"})
    digest: str = "sha256"
    changed: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    mangle: Callable[[str], str | None] = lambda header: header

    def claims(self) -> dict[str, Any]:
        body = self.body if self.signed_body is None else self.signed_body
        claims = {
            "iss": "Upstash",
            "sub": self.url,
            "exp": int(NOW) + 300,
            "nbf": 0,
            "iat": int(NOW),
            "jti": "jwt_1",
            "body": body_hash(body),
        } | self.changed
        return {name: value for name, value in claims.items() if name not in self.dropped}

    def header(self) -> str | None:
        signed = f"{segment(self.head)}.{segment(self.claims())}"
        signature = hmac.digest(self.key.encode(), signed.encode(), self.digest)
        return self.mangle(f"{signed}.{b64(signature)}")

    def check(self, keys: SigningKeys = KEYS) -> None:
        verify_signature(self.header(), self.body, self.url, keys, now=NOW)


def unsigned(delivery: Delivery) -> Delivery:
    """The classic: `alg: none` and no signature."""
    return replace(delivery, head={"alg": "none"}, mangle=lambda header: header.rsplit(".", 1)[0] + ".")


def sub(change: Callable[[str], str]) -> Callable[[Delivery], Delivery]:
    return lambda delivery: replace(delivery, changed={"sub": change(delivery.url)})


def claim(**changed: object) -> Callable[[Delivery], Delivery]:
    return lambda delivery: replace(delivery, changed=changed)


def no_claim(name: str) -> Callable[[Delivery], Delivery]:
    return lambda delivery: replace(delivery, dropped=(name,))


def header(change: Callable[[str], str | None]) -> Callable[[Delivery], Delivery]:
    return lambda delivery: replace(delivery, mangle=change)


def tampered(header: str) -> str:
    """Other claims under the old signature."""
    head, _, signature = header.split(".")
    return f"{head}.{segment(Delivery('https://evil.example').claims())}.{signature}"


WRONG: dict[str, tuple[Callable[[Delivery], Delivery], str]] = {
    "no header": (header(lambda _: None), "no Upstash-Signature"),
    "empty header": (header(lambda _: ""), "no Upstash-Signature"),
    "garbage": (header(lambda _: "garbage"), "not a signature"),
    "garbage of three parts": (header(lambda _: "a.b.c"), "not a signature"),
    "not ASCII": (header(lambda h: h + "é"), "not ASCII"),
    "half a surrogate pair": (header(lambda h: h + "\ud800"), "not ASCII"),
    "too long": (header(lambda h: h + "A" * 9000), "too long"),
    "two signatures in one header": (header(lambda h: f"{h},{h}"), "not a signature"),
    "a scheme before it": (header(lambda h: f"Bearer {h}"), "not a signature"),
    "signature cut off": (header(lambda h: h.rsplit(".", 1)[0]), "not a signature"),
    "signature empty": (header(lambda h: h.rsplit(".", 1)[0] + "."), "neither"),
    "claims exchanged": (header(tampered), "neither"),
    "alg none": (unsigned, "not a signature: .*alg"),
    "alg HS512": (lambda d: replace(d, head={"alg": "HS512"}, digest="sha512"), "not a signature: .*alg"),
    "alg HS512 named, HS256 made": (lambda d: replace(d, head={"alg": "HS512"}), "not a signature: .*alg"),
    "alg RS256": (lambda d: replace(d, head={"alg": "RS256"}), "not a signature: .*alg"),
    "alg missing": (lambda d: replace(d, head={"typ": "JWT"}), "not a signature: .*lgorithm"),
    "alg a list": (lambda d: replace(d, head={"alg": ["HS256"]}), "not a signature: .*alg"),
    "critical extension": (
        lambda d: replace(d, head={"alg": "HS256", "crit": ["x"], "x": 1}),
        "not a signature",
    ),
    "detached payload": (
        lambda d: replace(d, head={"alg": "HS256", "crit": ["b64"], "b64": False}),
        "not a signature",
    ),
    "another's key": (lambda d: replace(d, key="sig_somebody_elses"), "neither"),
    "a key of no length": (lambda d: replace(d, key=""), "neither"),
    "expired": (claim(iat=int(NOW) - 400, exp=int(NOW) - 100), "expired 100 s ago"),
    "expired this second past the leeway": (claim(exp=int(NOW) - 5), "expired"),
    "nbf in the future": (claim(nbf=int(NOW) + 60), "not valid for another 60 s"),
    "iat in the future": (claim(iat=int(NOW) + 60), "issued 60 s from now"),
    "lifetime above 10 minutes": (claim(exp=int(NOW) + 601), "lives 601 s"),
    "expires before it was issued": (claim(iat=int(NOW) + 4, exp=int(NOW) + 3), "lives -1 s"),
    "exp text": (claim(exp=str(int(NOW) + 300)), "exp is not a time"),
    "exp true": (claim(exp=True), "exp is not a time"),
    "exp null": (claim(exp=None), "exp is not a time"),
    "exp infinite": (claim(exp=float("inf")), "exp is not a time"),
    "exp beyond all arithmetic": (claim(exp=10**400), "exp is not a time"),
    "iat not a number": (claim(iat=float("nan")), "iat is not a time"),
    "iat negative": (claim(iat=-1), "iat is not a time"),
    "nbf a list": (claim(nbf=[0]), "nbf is not a time"),
    "iss another": (claim(iss="upstash"), "issued by 'upstash'"),
    "iss a list": (claim(iss=["Upstash"]), "issued by"),
    "an audience": (claim(aud="somebody"), "audience"),
    **{f"no {name}": (no_claim(name), f"no claim {name}") for name in ("iss", "sub", "exp", "iat", "body")},
    "sub null": (claim(sub=None), "signed for None"),
    "sub empty": (claim(sub=""), "signed for ''"),
    "sub a list": (lambda d: replace(d, changed={"sub": [d.url]}), "signed for"),
    "sub with a trailing slash": (sub(lambda url: url + "/"), "signed for"),
    "sub with a query": (sub(lambda url: url + "?a=1"), "signed for"),
    "sub with a fragment": (sub(lambda url: url + "#a"), "signed for"),
    "sub by http": (sub(lambda url: url.replace("https://", "http://")), "signed for"),
    "sub with a port": (sub(lambda url: url.replace(".com/", ".com:443/")), "signed for"),
    "sub in capitals": (sub(str.upper), "signed for"),
    "sub with two slashes": (sub(lambda url: url.replace(".com/", ".com//")), "signed for"),
    "sub with a prefix": (sub(lambda url: url[:-1]), "signed for"),
    "sub with half a surrogate pair": (sub(lambda url: url + "\ud800"), "signed for"),
    "sub of another template": (sub(lambda url: url.rsplit("/", 1)[0] + "/healthz"), "signed for"),
    "body changed by one byte": (lambda d: replace(d, signed_body=BODY[:-1] + b" "), "the body"),
    "body cut to nothing": (lambda d: replace(d, body=b"", signed_body=BODY), "the body"),
    "body where none was signed": (lambda d: replace(d, signed_body=b""), "the body"),
    "body not UTF-8, another": (lambda d: replace(d, body=b"\xff\xfe", signed_body=b"\xff\xfd"), "the body"),
    "body hash null": (claim(body=None), "the body"),
    "body hash empty": (claim(body=""), "the body"),
    "body hash a list": (claim(body=[body_hash(BODY)]), "the body"),
    "body hash padded too much": (claim(body=body_hash(BODY) + "=="), "the body"),
    "body hash in standard base64": (
        lambda d: replace(
            d, body=b"12", changed={"body": base64.b64encode(hashlib.sha256(b"12").digest()).decode()}
        ),
        "the body",
    ),
    "body hash in hex": (claim(body=hashlib.sha256(BODY).hexdigest()), "the body"),
}


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_delivery_that_is_wrong_in_one_way_is_refused_with_that_reason(wrong: str, lane: Lane) -> None:
    change, reason = WRONG[wrong]
    with pytest.raises(SignatureError, match=reason):
        change(Delivery(LANE_URLS[lane])).check()


def test_the_row_of_standard_base64_really_differs_from_base64url() -> None:
    assert set("+/") & set(base64.b64encode(hashlib.sha256(b"12").digest()).decode())


@pytest.mark.parametrize("url", URLS.values())
@pytest.mark.parametrize("key", [KEYS.current, KEYS.next])
def test_a_delivery_signed_by_the_current_or_the_next_key_is_accepted(url: str, key: str) -> None:
    Delivery(url, key=key).check()


@pytest.mark.parametrize("target", URLS.values())
def test_what_is_signed_for_one_address_is_refused_at_every_other(target: str) -> None:
    header = Delivery(target).header()
    for url in URLS.values():
        if url == target:
            verify_signature(header, BODY, url, KEYS, now=NOW)
        else:
            with pytest.raises(SignatureError, match="signed for"):
                verify_signature(header, BODY, url, KEYS, now=NOW)


RIGHT: dict[str, Callable[[Delivery], Delivery]] = {
    "no nbf": no_claim("nbf"),
    "no jti": no_claim("jti"),
    "body hash without padding": claim(body=body_hash(BODY).rstrip("=")),
    "empty body": lambda d: replace(d, body=b""),
    "body that is not UTF-8": lambda d: replace(d, body=b"\x00\xff\xfe\x80"),
    "lifetime of exactly 10 minutes": claim(exp=int(NOW) + 600),
    "a clock 4 s ahead": claim(iat=int(NOW) + 4, nbf=int(NOW) + 4, exp=int(NOW) + 304),
    "expired 4 s ago": claim(iat=int(NOW) - 304, exp=int(NOW) - 4),
    "times with fractions": claim(iat=NOW - 0.5, exp=NOW + 0.5),
    "a claim we do not know": claim(region="eu-central-1"),
    "an empty audience": claim(aud=""),
}


@pytest.mark.parametrize("right", RIGHT)
def test_what_qstash_may_do_is_accepted(right: str) -> None:
    RIGHT[right](Delivery(LANE_URLS[Lane.PAID_STREAM])).check()


def test_the_leeway_is_what_the_caller_says() -> None:
    delivery = claim(iat=int(NOW) - 330, exp=int(NOW) - 30)(Delivery("https://a.example/x"))
    verify_signature(delivery.header(), BODY, delivery.url, KEYS, now=NOW, leeway_seconds=31)
    with pytest.raises(SignatureError, match="expired"):
        verify_signature(delivery.header(), BODY, delivery.url, KEYS, now=NOW, leeway_seconds=0)


def test_without_a_given_time_the_clock_decides() -> None:
    fresh, hour_ago = int(time.time()), int(time.time()) - 3600
    for issued in (fresh, hour_ago):
        delivery = Delivery("https://a.example/x", changed={"iat": issued, "exp": issued + 300})
        with nullcontext() if issued == fresh else pytest.raises(SignatureError, match="expired"):
            verify_signature(delivery.header(), BODY, delivery.url, KEYS)


@pytest.mark.parametrize("key", [KEYS.current, KEYS.next])
def test_the_reason_is_that_of_the_key_that_signed(key: str) -> None:
    """QStash's own verifier reports the next key's failure, which hides that a delivery had merely expired."""
    delivery = replace(
        Delivery("https://a.example/x", key=key), changed={"exp": int(NOW) - 60, "iat": int(NOW) - 360}
    )
    with pytest.raises(SignatureError, match="expired 60 s ago"):
        delivery.check()


def test_a_short_signing_key_verifies_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Delivery("https://a.example/x", key="short").check(SigningKeys(current="short", next="x"))


@pytest.mark.parametrize("key", ["", "\ud800", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_signing_key_that_is_none_refuses_everything(key: str) -> None:
    with pytest.raises(SignatureError):
        Delivery("https://a.example/x", key="anything").check(SigningKeys(current=key, next=key))


def test_an_empty_signing_key_does_not_accept_what_is_signed_with_nothing() -> None:
    with pytest.raises(SignatureError, match="empty"):
        Delivery("https://a.example/x", key="").check(SigningKeys(current="", next=""))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(header=st.none() | st.text(), body=st.binary(), url=st.text(), key=st.text())
def test_no_input_at_all_raises_anything_but_a_signature_error(
    header: str | None, body: bytes, url: str, key: str
) -> None:
    with pytest.raises(SignatureError):
        verify_signature(header, body, url, SigningKeys(current=key, next=key), now=NOW)


@given(
    changed=st.dictionaries(st.sampled_from(["iss", "sub", "exp", "nbf", "iat", "body", "aud"]), JSON),
    head=st.dictionaries(st.sampled_from(["kid", "crit", "b64", "typ", "alg"]), JSON),
)
def test_no_claim_and_no_header_field_raises_anything_but_a_signature_error(
    changed: dict[str, Any], head: dict[str, Any]
) -> None:
    delivery = Delivery("https://a.example/x", changed=changed, head={"alg": "HS256"} | head)
    try:
        delivery.check()
    except SignatureError:
        return
    accepted = delivery.claims()
    assert accepted["sub"] == delivery.url
    assert accepted["iss"] == "Upstash"
    assert accepted["body"].rstrip("=") == body_hash(BODY).rstrip("=")
    assert accepted["exp"] - accepted["iat"] <= 600


@given(
    payload=st.binary()
    | st.just(b"[" * 5000)
    | st.just(b"1" * 5000)
    | JSON.map(lambda v: json.dumps(v).encode())
)
def test_no_signed_payload_raises_anything_but_a_signature_error(payload: bytes) -> None:
    signed = f"{segment({'alg': 'HS256'})}.{b64(payload)}"
    header = f"{signed}.{b64(hmac.digest(KEYS.current.encode(), signed.encode(), 'sha256'))}"
    with pytest.raises(SignatureError):
        verify_signature(header, BODY, "https://a.example/x", KEYS, now=NOW)
