"""Fetching from a Secrets Manager that is slow, busy, broken or of another opinion."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable

import pytest

from shared.config import load_references
from shared.errors import ConfigError
from shared.references import SECRET_VARIABLES
from shared.secrets_manager import SecretsManager
from tests.integration.starting.kit import (
    PLANTED,
    ROLE,
    VERSION,
    Reply,
    ScriptedManager,
    references,
    refusal,
    value,
)

IDS = {"GLM_API_KEY": "sluice/test/GLM_API_KEY", "REDIS_URL": "sluice/test/REDIS_URL"}
Rule = Callable[[str, int], Reply]


def manager(url: str, ids: dict[str, str], *, budget_seconds: float) -> SecretsManager:
    environ = {**ROLE, "AWS_ENDPOINT_URL": url, "SLUICE_SECRETS": references(ids)}
    loaded = load_references(environ)
    assert loaded is not None
    return SecretsManager(loaded, budget_seconds=budget_seconds)


def fetch(rule: Rule, ids: dict[str, str] | None = None, *, budget_seconds: float = 30) -> dict[str, str]:
    with ScriptedManager(rule).serve() as url:
        return manager(url, IDS if ids is None else ids, budget_seconds=budget_seconds).fetch()


def failure(rule: Rule, *, budget_seconds: float = 30) -> str:
    with pytest.raises(ConfigError) as raised:
        fetch(rule, budget_seconds=budget_seconds)
    assert "hunter2" not in str(raised.value)
    return str(raised.value)


def for_the_key(reply: Reply) -> Rule:
    """Answer for one of the two secrets with `reply`, for the other as one should."""
    return lambda secret_id, _count: reply if secret_id == IDS["GLM_API_KEY"] else value()


def test_each_variable_gets_its_own_secret() -> None:
    assert fetch(lambda secret_id, _: value(f"of {secret_id}")) == {
        variable: f"of {secret_id}" for variable, secret_id in IDS.items()
    }


def test_nothing_to_fetch_is_fetched_without_a_call() -> None:
    scripted = ScriptedManager(lambda secret_id, count: value())
    with scripted.serve() as url:
        assert manager(url, {}, budget_seconds=5).fetch() == {}
    assert not scripted.asked


def test_a_call_says_who_asks_for_what() -> None:
    scripted = ScriptedManager(lambda secret_id, count: value())
    with scripted.serve() as url:
        manager(url, IDS, budget_seconds=30).fetch()
        for headers in scripted.headers:
            assert headers["Host"] == url.removeprefix("http://")
            assert headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
            assert headers["Content-Type"] == "application/x-amz-json-1.1"
            assert headers["X-Amz-Security-Token"] == ROLE["AWS_SESSION_TOKEN"]
            assert re.match(
                r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-central-1/secretsmanager/aws4_request, "
                r"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, ",
                headers["Authorization"],
            )


def test_all_secrets_are_asked_for_at_once() -> None:
    """Nobody is answered before everybody has asked."""
    everybody = threading.Barrier(len(SECRET_VARIABLES))

    def rule(secret_id: str, count: int) -> Reply:
        everybody.wait(timeout=20)
        return value(secret_id)

    ids = {variable: f"sluice/test/{variable}" for variable in SECRET_VARIABLES}
    assert fetch(rule, ids, budget_seconds=60) == ids


def test_no_thread_is_left_when_the_values_are_there() -> None:
    fetch(lambda secret_id, count: value())
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("secrets")]


PASSING = {
    "throttled": refusal("ThrottlingException"),
    "too many requests": Reply(429, b""),
    "an error of the service": refusal("InternalServiceError", 500),
    "unavailable, from something in front of it": Reply(503, b"<html>"),
    "no answer": Reply(0, b"", raw=True),
    "something else than HTTP": Reply(0, b"SSH-2.0-hunter2\r\n", raw=True),
    "half an answer": Reply(0, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", raw=True),
}


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_tried_again_until_it_has_passed(reply: Reply) -> None:
    scripted = ScriptedManager(lambda secret_id, count: reply if count <= 3 else value())
    with scripted.serve() as url:
        assert manager(url, IDS, budget_seconds=60).fetch() == dict.fromkeys(IDS, PLANTED)
    assert set(scripted.asked.values()) == {4}


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING.keys())
def test_what_does_not_pass_within_the_budget_ends_with_its_reason(reply: Reply) -> None:
    message = failure(for_the_key(reply), budget_seconds=0.4)
    assert "GLM_API_KEY: sluice/test/GLM_API_KEY: Secrets Manager" in message
    assert "REDIS_URL" not in message


def test_a_service_that_falls_silent_does_not_hold_up_a_start_beyond_the_budget() -> None:
    gate = threading.Event()

    def silent(secret_id: str, count: int) -> Reply:
        gate.wait(30)
        return value()

    with ScriptedManager(silent).serve() as url:
        with pytest.raises(ConfigError, match="does not answer"):
            manager(url, IDS, budget_seconds=0.3).fetch()
        gate.set()


REFUSED = {
    "ResourceNotFoundException": refusal("ResourceNotFoundException"),
    "AccessDeniedException": refusal("AccessDeniedException"),
    "InvalidSignatureException": Reply(400, b'{"__type": "InvalidSignatureException"}'),
    "UnrecognizedClientException": Reply(400, b'{"__type": "a.b#UnrecognizedClientException:http://x"}'),
    "status 403": Reply(403, b"<html>hunter2</html>"),
    "status 400": Reply(400, json.dumps({"__type": f"x#no code: {PLANTED}"}).encode()),
    "the secret is no text": Reply(
        200, json.dumps({"VersionId": VERSION, "SecretBinary": "aHVudGVy"}).encode()
    ),
    "another version": value(version="another"),
    "cannot be a variable's value": value(f"{PLANTED}\0"),
}


@pytest.mark.parametrize(("reason", "reply"), REFUSED.items(), ids=REFUSED.keys())
def test_what_does_not_pass_is_not_tried_again_and_named_without_a_value(reason: str, reply: Reply) -> None:
    scripted = ScriptedManager(for_the_key(reply))
    with scripted.serve() as url, pytest.raises(ConfigError) as raised:
        manager(url, IDS, budget_seconds=60).fetch()
    message = str(raised.value)
    assert message.startswith("secrets: GLM_API_KEY: sluice/test/GLM_API_KEY: ")
    assert reason in message
    assert "hunter2" not in message
    assert scripted.asked[IDS["GLM_API_KEY"]] == 1


def test_half_of_a_surrogate_pair_is_no_variables_value() -> None:
    body = b'{"VersionId": "%s", "SecretString": "hunter2\\ud800"}' % VERSION.encode()
    assert "cannot be a variable's value" in failure(for_the_key(Reply(200, body)))


def test_everything_that_is_not_to_be_had_is_named_at_once() -> None:
    message = failure(lambda secret_id, count: refusal("ResourceNotFoundException"))
    assert all(f"{variable}: {secret_id}: " in message for variable, secret_id in IDS.items())


def test_nobody_at_the_address_is_told_as_that() -> None:
    with pytest.raises(ConfigError, match=r"does not answer \(ConnectionRefusedError\)"):
        manager("http://127.0.0.1:1", IDS, budget_seconds=0.2).fetch()
