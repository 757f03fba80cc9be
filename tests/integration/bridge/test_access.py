"""Who may read, and what is refused."""

from __future__ import annotations

import pytest

from devstack.valkey import EmbeddedValkey
from shared.auth import StreamTokens
from shared.state.keys import TaskRef
from shared.state.store import Store
from tests.integration.bridge.kit import (
    ORIGIN,
    REF,
    SECRET,
    BridgeProcess,
    Browser,
    Work,
)


@pytest.mark.parametrize(
    "wrong", ["none", "garbage", "another task", "another service", "expired", "another key"]
)
def test_without_a_valid_token_for_exactly_this_channel_it_is_401(
    browser: Browser, work: Work, wrong: str
) -> None:
    """D35: a stream is read only with its own token."""
    tokens = {
        "none": "",
        "garbage": "x.y.z",
        "another task": StreamTokens(SECRET, 60).issue("u1", "s1", "t2"),
        "another service": StreamTokens(SECRET, 60).issue("u1", "s2", "t1"),
        "expired": StreamTokens(SECRET, 60, clock=lambda: 1).issue("u1", "s1", "t1"),
        "another key": StreamTokens("another secret of thirty-two bytes", 60).issue("u1", "s1", "t1"),
    }
    answer = browser.http.get("/events/s1/t1", params={"token": tokens[wrong]}, headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.json()["ok"], answer.json()["error"]) == (401, False, "auth_required")
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_a_token_of_another_user_reads_that_users_channel_only(browser: Browser, work: Work) -> None:
    """D25, D35: the user in the token decides which stream it is."""
    assert browser.get(TaskRef("t1", "s1", "u2")).status_code == 404


def test_a_token_in_the_authorization_header_is_as_good(browser: Browser, work: Work) -> None:
    work.tasks.cancel(REF)
    token = StreamTokens(SECRET, 60).issue("u1", "s1", "t1")
    answer = browser.http.get("/events/s1/t1", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_good_token_for_a_task_that_is_not_there_is_404_and_a_bad_one_401(
    browser: Browser, store: Store, method: str
) -> None:
    """What a deployment asks `events`: the token was accepted and Redis has been asked, or it would not know."""
    address = "/events/probe/a-nonce_of-the-tests-0001"
    statuses = {}
    for secret in (SECRET, "another secret of thirty-two bytes"):
        token = StreamTokens(secret, 60).issue("probe", "probe", "a-nonce_of-the-tests-0001")
        answer = browser.http.request(method, address, params={"token": token})
        statuses[secret] = answer.status_code
        assert method == "HEAD" or answer.json()["error"] in {"not_found", "auth_required"}
    assert list(statuses.values()) == [404, 401]
    assert browser.http.request(method, address).status_code == 401
    assert store.command("DBSIZE") == 0


@pytest.mark.parametrize("place", ["x", "-1", "1-", "1-2-3", "$", "1" * 30, "１"])
def test_a_place_that_is_no_stream_id_is_400(browser: Browser, work: Work, place: str) -> None:
    answer = browser.get(after=place)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "after" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/events/s1", 404),
        ("GET", "/events/s1/t1/", 404),
        ("GET", "/events/s1/t1/x", 404),
        ("GET", "/events/s%2F1/t1", 404),
        ("GET", "/events/s1/" + "t" * 65, 404),
        ("POST", "/events/s1/t1", 405),
        ("DELETE", "/healthz", 405),
    ],
)
def test_other_addresses_and_methods_are_refused_in_json(
    browser: Browser, method: str, path: str, status: int
) -> None:
    answer = browser.http.request(method, path)
    assert (answer.status_code, answer.json()["ok"]) == (status, False)
    assert (answer.headers.get("allow") is not None) == (status == 405)


def test_healthz_answers_and_head_has_no_body(browser: Browser, work: Work) -> None:
    assert browser.http.get("/healthz").json() == {"ok": True}
    answer = browser.http.head(browser.address())
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_only_pages_of_allowed_origins_may_read(browser: Browser, work: Work) -> None:
    work.tasks.cancel(REF)
    theirs = browser.get(headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in theirs.headers
    assert browser.get(headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
    preflight = browser.http.options("/events/s1/t1", headers={"Origin": ORIGIN})
    assert preflight.status_code == 204
    assert "Last-Event-ID" in preflight.headers["access-control-allow-headers"]


@pytest.mark.parametrize("variable", ["STREAM_TOKEN_SECRET", "REDIS_URL"])
def test_a_missing_variable_stops_the_function_at_its_start_naming_it(
    valkey: EmbeddedValkey, variable: str
) -> None:
    process = BridgeProcess(valkey.url, **{variable: ""})
    output, _ = process.process.communicate(timeout=20)
    assert process.process.returncode != 0
    assert variable in output.decode()
    assert "Traceback" not in output.decode()
