"""Polling a task costs a tag and an empty answer while nothing changes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from shared.actions.app import Application
from tests.integration.http.kit import World, user_token
from tests.integration.http.stand_ins import serve


def test_an_unchanged_task_is_304_whatever_token_its_stream_address_has(world: World) -> None:
    accepted, _ = world.start("upload-resume", {"text": "A résumé."})
    path = f"/tasks/{accepted['taskId']}"
    other = Application(replace(world.application.settings, stream_token_secret="another secret"))
    with closing(other.store), serve(other.answer) as url:
        first = world.http.get(url + path, headers={"Authorization": f"Bearer {user_token('ada')}"})
    assert first.json()["streamUrl"] != world.get(path).json()["streamUrl"]
    same = world.get(path, **{"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["ETag"] == first.headers["ETag"]


def test_a_task_that_moved_on_is_shown_whole_under_another_tag(world: World) -> None:
    accepted, publish = world.start("upload-resume", {"text": "A résumé."})
    path = f"/tasks/{accepted['taskId']}"
    tag = world.get(path).headers["ETag"]
    world.finish(publish)
    moved = world.get(path, **{"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.json()["state"] == "done"
    assert moved.headers["ETag"] != tag


def test_a_tag_opens_nothing_that_belongs_to_another(world: World) -> None:
    """D25."""
    accepted, _ = world.start("upload-resume", {"text": "A résumé."})
    path = f"/tasks/{accepted['taskId']}"
    tag = world.get(path).headers["ETag"]
    assert world.get(path, user="bob", **{"If-None-Match": tag}).status_code == 404


def test_the_tag_changes_before_the_stream_token_expires(world: World) -> None:
    world.change(STREAM_TOKEN_TTL_SECONDS="0.002")
    accepted, _ = world.start("upload-resume", {"text": "A résumé."})
    path = f"/tasks/{accepted['taskId']}"
    tag = world.get(path).headers["ETag"]
    assert world.get(path, **{"If-None-Match": tag}).status_code == 200


def test_a_browser_may_keep_a_status_but_asks_before_it_shows_it(world: World) -> None:
    accepted, _ = world.start("upload-resume", {"text": "A résumé."})
    assert world.get(f"/tasks/{accepted['taskId']}").headers["Cache-Control"] == "private, no-cache"
