"""A user's requests are counted before any work is done for them."""

from __future__ import annotations

import pytest

from tests.integration.http.kit import RESUME, World


@pytest.fixture
def world(world: World) -> World:
    world.change(RATE_LIMIT_READS="3/hour", RATE_LIMIT_WRITES="2/hour")
    return world


def test_one_request_too_many_is_refused_with_a_time_and_leaves_no_trace(world: World) -> None:
    for _ in range(2):
        world.ask("upload-resume", {"text": RESUME})
    before = world.dump()
    refused = world.ask("upload-resume", {"text": RESUME})
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) == refused.json()["retryAfter"] > 0
    assert world.dump() == before
    assert len(world.qstash.published) == 2


def test_the_body_of_a_refused_request_is_not_looked_at(world: World) -> None:
    for _ in range(2):
        world.ask("upload-resume", {"text": ""})
    assert world.ask("upload-resume", {"text": ""}).json()["error"] == "rate_limited"


def test_reading_and_writing_are_counted_apart(world: World) -> None:
    for _ in range(3):
        assert world.get("/quota").status_code == 200
    assert world.get("/quota").json()["error"] == "rate_limited"
    assert world.ask("upload-resume", {"text": RESUME}).status_code == 202


def test_a_user_is_not_slowed_down_by_another(world: World) -> None:
    for _ in range(4):
        world.get("/quota")
    assert world.get("/quota", user="bob").status_code == 200


def test_who_has_not_said_who_they_are_is_not_counted(world: World) -> None:
    for _ in range(5):
        assert world.http.get(f"{world.actions_url}/quota").status_code == 401
    assert world.store.command("KEYS", "rate:*") == []


def test_health_and_callbacks_are_never_refused(world: World) -> None:
    for _ in range(8):
        assert world.http.get(f"{world.actions_url}/healthz").status_code == 200
        assert world.call_back("sweep").status_code == 200
