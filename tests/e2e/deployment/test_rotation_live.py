"""Keys rotated on real processes of built bundles, while messages, readers and users keep coming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from deployment.deliveries import hmac_key
from tests.e2e.deployment.live_kit import Live, Repeating, live, senders
from tests.integration.http.stand_ins import wait_for

pytestmark = pytest.mark.timeout(600)
USER = "a-user-of-the-test"
NEW_USER_SECRET = "another-user-token-secret-of-the-test"
ROUNDS = 3


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path) as opened:
        opened.run("apply")
        yield opened


def test_no_message_is_refused_while_qstashs_keys_are_rotated(environment: Live) -> None:
    with Repeating(senders(environment)) as sending:
        sending.wait_for_more(ROUNDS)
        before = environment.qstash("GET", "/v2/keys")
        assert environment.json("rotate-keys", "--in-flight", "2")["ok"]
        sending.wait_for_more(ROUNDS)
    assert environment.qstash("GET", "/v2/keys")["current"] == before["next"]
    ended = environment.deliveries()
    assert ended.refused == 0
    assert ended.taken >= 6 * sending.times

    # The same count sees what a careless roll does: twice by hand, before anybody was told.
    with Repeating(senders(environment)) as sending:
        for _ in range(2):
            environment.qstash("POST", "/v2/keys/rotate")
        sending.wait_for_more(ROUNDS)
    refused = environment.deliveries().refused
    assert refused >= 6

    told = environment.run("rotate-keys", "--in-flight", "0")
    assert "nothing is rolled" in told.stderr
    with Repeating(senders(environment)) as sending:
        sending.wait_for_more(ROUNDS)
    assert environment.deliveries().refused == refused


class Browser:
    """A user whose task is read again and again, with every stream token that was ever given out."""

    def __init__(self, environment: Live) -> None:
        self.environment = environment
        self.urls = environment.urls()
        self.secrets = [environment.secret("AUTH_JWT_SECRET")]
        """Those with which the sign-in may sign."""
        self.streams: dict[str, None] = {}
        self.refused: list[str] = []
        answer = self.call(
            "POST", "/actions/upload-resume", json={"text": "Ann Smith, engineer in Berlin. " * 20}
        )
        assert answer.status_code == 202, answer.text
        self.task = answer.json()["taskId"]
        self.streams[answer.json()["streamUrl"]] = None
        wait_for(lambda: self.task_now()["state"] == "done", seconds=90)

    def call(self, method: str, path: str, *, secret: str | None = None, **how: Any) -> httpx.Response:
        token = jwt.encode({"sub": USER, "exp": 4e9}, hmac_key(secret or self.secrets[0]), algorithm="HS256")
        headers = {"Authorization": f"Bearer {token}"}
        return self.environment.client.request(method, self.urls["actions"] + path, headers=headers, **how)

    def task_now(self) -> dict[str, object]:
        document: dict[str, object] = self.call("GET", f"/tasks/{self.task}").json()
        return document

    def look(self) -> None:
        """Ask for the task with each user's token, and open the first and the newest stream."""
        for number, secret in enumerate(list(self.secrets)):
            answer = self.call("GET", f"/tasks/{self.task}", secret=secret)
            if answer.status_code != 200:
                self.refused.append(f"user's token {number}: {answer.status_code}")
                continue
            self.streams[answer.json()["streamUrl"]] = None
        known = list(self.streams)
        for place in (0, -1):
            status = self.stream_status(known[place])
            if status not in {200, 204}:
                self.refused.append(f"stream token {place}: {status}")

    def stream_status(self, url: str) -> int:
        with self.environment.client.stream("GET", url) as response:
            return response.status_code


def test_no_reader_and_no_user_is_turned_away_while_the_secrets_of_tokens_are_rotated(
    environment: Live,
) -> None:
    browser = Browser(environment)
    first_stream = next(iter(browser.streams))
    old_user_secret = browser.secrets[0]
    with Repeating(browser.look) as looking:
        looking.wait_for_more(ROUNDS)
        environment.run("rotate-keys", "--secret", "STREAM_TOKEN_SECRET")
        environment.run("rotate-keys", "--secret", "AUTH_JWT_SECRET", given=NEW_USER_SECRET)
        browser.secrets = [old_user_secret, NEW_USER_SECRET]
        looking.wait_for_more(ROUNDS)
        early = environment.run("rotate-keys", "--secret", "STREAM_TOKEN_SECRET", "--finish", status=1)
        assert "are good for another" in early.stderr
        looking.wait_for_more(ROUNDS)
    assert browser.refused == []

    browser.secrets = [NEW_USER_SECRET]
    environment.run("rotate-keys", "--secret", "STREAM_TOKEN_SECRET", "--finish", "--now")
    environment.run("rotate-keys", "--secret", "AUTH_JWT_SECRET", "--finish")
    newest_stream = list(browser.streams)[-1]
    assert browser.stream_status(first_stream) == 401
    assert browser.stream_status(newest_stream) in {200, 204}
    assert browser.call("GET", "/quota", secret=old_user_secret).status_code == 401
    assert browser.call("GET", "/quota").status_code == 200
