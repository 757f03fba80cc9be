"""`DELETE /me` removes everything a user has, and says how much it was; money is not made by it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from shared.state import keys
from tests.integration.http.kit import World, data_url, user_token


def delete(world: World, user: str = "ada") -> httpx.Response:
    return world.http.delete(
        f"{world.actions_url}/me", headers={"Authorization": f"Bearer {user_token(user)}"}
    )


def keys_that_name(world: World, user: str) -> list[str]:
    return sorted(key for key in world.store.command("KEYS", "*") if user in key)


def with_everything(world: World) -> dict[str, Any]:
    """Give Ada a résumé, a match, a customised résumé, and an image task that is still open."""
    service_id = world.with_match()
    world.finish(world.start("customize-resume", {"serviceId": service_id}, key="key")[1])
    accepted, _ = world.start("create-service", {"jobImage": data_url()})
    return {"service_id": service_id, "open": accepted["taskId"]}


def test_everything_goes_and_is_counted(world: World) -> None:
    given = with_everything(world)
    answer = delete(world)
    assert answer.status_code == 200
    assert answer.json()["removed"] == {
        "resumes": 1,
        "services": 2,
        "tasks": 4,
        "cancelled": 1,
        "images": 1,
    }
    assert world.get("/services").json()["services"] == []
    assert world.get("/resume").json()["summary"] is None
    assert world.get("/resume").json()["tasks"] == {}
    assert world.get(f"/services/{given['service_id']}").status_code == 404
    assert world.get(f"/tasks/{given['open']}").status_code == 404
    assert keys_that_name(world, "ada") == []
    assert [path for path in world.blobs.rglob("*") if path.is_file()] == []


def test_no_record_service_or_stream_of_the_user_is_left_behind(world: World) -> None:
    with_everything(world)
    delete(world)
    left = {key.split(":")[0] for key in world.store.command("KEYS", "*")}
    assert left <= {"quota", "ledger", "queue", "lock", "rate", "journal"}
    assert '"ada"' not in json.dumps(world.store.command("XRANGE", "journal", "-", "+")).replace("\\", "")


def test_what_others_have_stays(world: World) -> None:
    service_id = world.with_match("bob")
    with_everything(world)
    before = {path: world.get(path, user="bob").json() for path in ("/resume", "/services", "/quota")}
    delete(world)
    assert {path: world.get(path, user="bob").json() for path in before} == before
    assert world.get(f"/services/{service_id}", user="bob").status_code == 200


def test_an_open_task_is_cancelled_and_refunded_first(world: World) -> None:
    world.with_resume()
    balance = world.balance()
    world.start("create-service", {"jobText": "A job."})
    answer = delete(world).json()
    assert (answer["removed"]["cancelled"], answer["balance"]) == (1, balance)
    assert (world.places(), world.slot_holders()) == (0, 0)


def test_deleting_oneself_makes_no_coins(world: World) -> None:
    world.with_match()
    balance = world.balance()
    delete(world)
    quota = world.get("/quota").json()
    assert quota["balance"] == balance
    assert [line["kind"] for line in quota["ledger"]] == ["grant"]
    assert sum(line["delta"] for line in quota["ledger"]) == balance


def test_deleting_twice_removes_nothing_more(world: World) -> None:
    with_everything(world)
    balance = delete(world).json()["balance"]
    again = delete(world).json()
    assert set(again["removed"].values()) == {0}
    assert again["balance"] == balance


def test_a_user_never_seen_has_nothing_to_remove_and_stays_unseen(world: World) -> None:
    answer = delete(world, "nobody").json()
    assert set(answer["removed"].values()) == {0}
    assert world.store.command("EXISTS", keys.quota("nobody")) == 0


def test_a_worker_that_runs_on_brings_nothing_back(world: World) -> None:
    """A deleted stream may not be made anew by a late write, nor a record by a late result."""
    world.with_resume()
    _, publish = world.start("upload-resume", {"text": "Another résumé."})
    attempt = world.claim(publish).attempt
    delete(world)
    assert world.tasks.renew(attempt) is False
    world.deliver(publish)
    assert keys_that_name(world, "ada") == []


def test_a_user_comes_back_with_the_same_name_and_starts_anew(world: World) -> None:
    with_everything(world)
    delete(world)
    assert world.ask("create-service", {"jobText": "A job."}).json()["error"] == "resume_required"
    world.with_resume()
    assert world.get("/resume").json()["summary"] is not None


def test_only_delete_is_answered(world: World) -> None:
    assert world.get("/me").status_code == 405
    assert world.http.delete(f"{world.actions_url}/me").status_code == 401
