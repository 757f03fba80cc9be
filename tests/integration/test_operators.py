"""Who may look after a running Sluice: by a token, by a session that the token opened, and by nothing else."""

from __future__ import annotations

import jwt
import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from shared.actions.operators import COOKIE, SESSION_SECONDS, Operator, Operators, address_of
from shared.errors import AuthRequired, InvalidRequest, NotFound, RateLimited
from shared.state.store import Store
from tests.logs_kit import Log, logging_to

TOKEN = "a token of operators alone, of thirty-two bytes and more"
NOW = 1_790_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def request(cookie: str | None = None, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if cookie is not None:
        named["Cookie"] = f"{COOKIE}={cookie}"
    return Request(
        EnvironBuilder(
            path="/ops", headers=list(named.items()), environ_base={"REMOTE_ADDR": "9.9.9.9"}
        ).get_environ()
    )


def bearer(token: str, **headers: str) -> Request:
    return request(Authorization=f"Bearer {token}", **headers)


def test_whoever_sends_the_token_is_an_operator_by_the_name_they_give(store: Store) -> None:
    operators = Operators(TOKEN, store)
    assert operators.require(bearer(TOKEN)) == Operator("script")
    assert operators.require(bearer(TOKEN, Sluice_Operator=" ada lovelace ")) == Operator("ada-lovelace")
    with pytest.raises(InvalidRequest, match="name"):
        operators.require(bearer(TOKEN, Sluice_Operator="a" * 65))


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer ÿ"])  # fmt: skip
def test_nothing_else_is_taken(store: Store, sent: str) -> None:
    with pytest.raises(AuthRequired):
        Operators(TOKEN, store).require(request(Authorization=sent))


def test_without_a_token_of_this_deployment_there_is_no_such_address(store: Store) -> None:
    nobody = Operators(None, store)
    for call in (
        lambda: nobody.require(bearer("")),
        lambda: nobody.sign_in(request(), "ada", ""),
        lambda: nobody.session(request("x")),
    ):
        with pytest.raises(NotFound):
            call()


def test_wrong_tokens_of_one_address_are_counted_and_the_right_one_still_opens(store: Store) -> None:
    operators = Operators(TOKEN, store)
    for _ in range(10):
        with pytest.raises(AuthRequired):
            operators.require(bearer("wrong"))
    with pytest.raises(RateLimited) as limited:
        operators.require(bearer("wrong"))
    assert limited.value.retry_after_seconds
    assert operators.require(bearer(TOKEN))
    with pytest.raises(AuthRequired):
        operators.require(bearer("wrong", X_Forwarded_For="9.9.9.9, 8.8.8.8"))


def test_sign_ins_of_one_address_are_limited_whatever_they_send(store: Store) -> None:
    operators = Operators(TOKEN, store)
    for _ in range(10):
        with pytest.raises(AuthRequired):
            operators.sign_in(request(), "ada", "wrong")
    with pytest.raises(RateLimited):
        operators.sign_in(request(), "ada", TOKEN)


def test_an_address_is_what_the_platforms_front_saw_not_what_the_caller_wrote() -> None:
    assert address_of(request()) == "9.9.9.9"
    assert address_of(request(X_Forwarded_For="1.1.1.1, 2.2.2.2")) == "2.2.2.2"


def test_a_session_is_good_for_a_working_day_and_carries_a_name_and_a_form_token(store: Store) -> None:
    clock = Clock()
    operators = Operators(TOKEN, store, clock=clock)
    names = ("ada", "grace", "ada")
    first, second, third = (operators.sign_in(request(), name, f" {TOKEN} ") for name in names)
    session, *others = (operators.session(request(cookie)) for cookie in (first, second, third))
    assert session
    assert [each.operator.name for each in (session, *others) if each] == list(names)
    assert [session.allows(each.form_token) for each in (session, *others) if each] == [True, False, False]
    clock.now += SESSION_SECONDS - 1
    assert operators.session(request(first)) == session
    clock.now += 1
    assert operators.session(request(first)) is None


def test_no_other_cookie_is_a_session(store: Store) -> None:
    operators = Operators(TOKEN, store)
    mine = operators.sign_in(request(), "ada", TOKEN)
    claims = {"sub": "ada", "jti": "x", "aud": "sluice-ops", "exp": 9_999_999_999}
    forged = jwt.encode(claims, TOKEN, algorithm="HS256")
    unsigned = jwt.encode(claims, "", algorithm="none")
    for cookie in ("", "x", mine[:-2], forged, unsigned, TOKEN):
        assert operators.session(request(cookie)) is None
    assert operators.session(request()) is None


def test_another_token_signs_everybody_out(store: Store) -> None:
    cookie = Operators(TOKEN, store).sign_in(request(), "ada", TOKEN)
    assert Operators(f"{TOKEN} 2", store).session(request(cookie)) is None


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "\x1b[31m", "x" * 65])
def test_a_name_that_would_break_a_line_of_the_log_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidRequest):
        Operators(TOKEN, store).sign_in(request(), name, TOKEN)


def test_tries_are_logged_without_what_was_sent(store: Store) -> None:
    operators = Operators(TOKEN, store)
    with logging_to(Log()) as log:
        operators.sign_in(request(), "ada", TOKEN)
        for attempt in (
            lambda: operators.sign_in(request(), "ada", "hunter2"),
            lambda: operators.require(bearer("hunter2")),
        ):
            with pytest.raises(AuthRequired):
                attempt()
    (signed_in,) = log.told("operator_acted")
    assert (signed_in["act"], signed_in["by"]) == ("sign_in", "ada")
    assert len(log.told("operator_refused")) == 2
    assert "hunter2" not in log.getvalue()
    assert TOKEN not in log.getvalue()
