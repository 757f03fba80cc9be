"""What the actions accept and refuse: each row of the table of refusals, and that a refusal uses nothing up."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from devstack.valkey import free_port
from shared.actions.uploads import MAX_BODY_BYTES, MAX_IMAGE_BYTES
from shared.auth import StreamTokens
from shared.routing import Action, Lane, Template
from tests.integration.http.kit import (
    ACTIONS_URL,
    EVENTS_URL,
    JOB,
    ORIGIN,
    PNG,
    RESUME,
    STREAM_SECRET,
    World,
    data_url,
    picture,
    user_token,
)
from tests.integration.http.stand_ins import RESULTS, run_function


def assert_refused(response: Any, status: int, error: str) -> None:
    body = response.json()
    assert (response.status_code, body["ok"], body["error"]) == (status, False, error)
    assert body["message"]
    assert response.headers.get("Retry-After") == (str(body["retryAfter"]) if "retryAfter" in body else None)


# -- accepted --------------------------------------------------------------------------------------------------------


def test_an_accepted_task_has_exactly_these_fields_and_absolute_addresses_of_its_own_channel(
    world: World,
) -> None:
    """D24, D35: the channel to listen to is the task's, and its token is good for that one."""
    answer = world.ask("upload-resume", {"text": RESUME}).json()
    task_id, service_id = answer["taskId"], answer["serviceId"]
    stream_url = answer.pop("streamUrl")
    assert answer == {
        "ok": True,
        "taskId": task_id,
        "serviceId": service_id,
        "queueId": "paid_batch",
        "isFree": False,
        "stream": False,
        "statusUrl": f"{ACTIONS_URL}/tasks/{task_id}",
        "replay": False,
    }
    address, _, token = stream_url.partition("?token=")
    assert address == f"{EVENTS_URL}/events/{service_id}/{task_id}"
    assert StreamTokens(STREAM_SECRET, 1).check(token, service_id, task_id) == "ada"
    assert world.event_types(task_id) == ["queued"]


def test_each_action_leads_to_its_queue_and_says_whether_text_will_stream(world: World) -> None:
    service_id = world.with_match()
    wanted: list[tuple[str, Mapping[str, Any], str, bool]] = [
        ("upload-detailed-resume", {"text": RESUME}, "paid_batch", False),
        ("create-service", {"jobImage": data_url()}, "paid_vision", True),
        ("interview-tips", {"serviceId": service_id}, "paid_stream", True),
    ]
    for action, body, queue_id, streams in wanted:
        answer = world.ask(action, body).json()
        assert (answer["queueId"], answer["stream"], answer["isFree"]) == (queue_id, streams, False)
        world.cancel(answer["taskId"])
    answer = world.ask("customize-resume", {"serviceId": service_id}).json()
    assert (answer["serviceId"], answer["queueId"]) == (service_id, "paid_batch")


def test_too_little_balance_takes_the_free_lane_and_costs_nothing(world: World) -> None:
    world.change(INITIAL_QUOTA="1")
    world.with_resume()
    answer, publish = world.start("create-service", {"jobText": JOB})
    assert (answer["isFree"], answer["queueId"]) == (True, "free_stream")
    assert publish.message["modelId"] == "glm-4.5-flash"
    world.finish(publish)
    assert world.balance() == 0


def test_a_user_without_coins_has_the_whole_way_for_free(world: World) -> None:
    world.change(INITIAL_QUOTA="0")
    service_id = world.with_match()
    answer, publish = world.start("customize-resume", {"serviceId": service_id})
    assert answer["queueId"] == "free_batch"
    world.cancel(answer["taskId"])
    assert (world.balance(), world.get("/quota").json()["ledger"][1:]) == (0, [])
    assert publish.message["tier"] == "free"


# -- refused -----------------------------------------------------------------------------------------------------------

INVALID: Mapping[str, tuple[str, Any, str]] = {
    "no text": ("upload-resume", {}, "text"),
    "an empty text": ("upload-resume", {"text": " \n\x00 "}, "text"),
    "a text that is a number": ("upload-resume", {"text": 5}, "text"),
    "an unknown field": ("upload-resume", {"text": RESUME, "priority": 1}, "priority"),
    "an unknown locale": ("upload-resume", {"text": RESUME, "locale": "fr"}, "locale"),
    "neither text nor image": ("create-service", {}, "jobText"),
    "both text and image": ("create-service", {"jobText": JOB, "jobImage": data_url()}, "jobText"),
    "an image that is no data URL": ("create-service", {"jobImage": "https://x.test/y.png"}, "jobImage"),
    "an image that is not base64": ("create-service", {"jobImage": "data:image/png;base64,§§"}, "jobImage"),
    "a data URL without base64": ("create-service", {"jobImage": "data:image/png,abc"}, "jobImage"),
    "an empty image": ("create-service", {"jobImage": "data:image/png;base64,"}, "jobImage"),
    "no service": ("customize-resume", {}, "serviceId"),
    "a service id that is none": ("interview-tips", {"serviceId": "a:b"}, "serviceId"),
    "a list": ("upload-resume", ["text"], "body"),
    "null": ("upload-resume", None, "body"),
}


@pytest.mark.parametrize(("action", "body", "field"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_request_names_the_field(world: World, action: str, body: Any, field: str) -> None:
    response = world.ask(action, body)
    assert_refused(response, 400, "invalid_request")
    assert response.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b"NaN"])
def test_a_body_that_is_no_json_object_is_an_invalid_request(world: World, content: bytes) -> None:
    headers = {"Authorization": f"Bearer {user_token('ada')}", "Content-Type": "application/json"}
    response = world.http.post(f"{world.actions_url}/actions/upload-resume", content=content, headers=headers)
    assert_refused(response, 400, "invalid_request")


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_has_a_length(world: World, key: str) -> None:
    assert_refused(world.ask("upload-resume", {"text": RESUME}, key=key), 400, "invalid_request")


@pytest.mark.parametrize(
    ("action", "field", "limit"),
    [
        ("upload-resume", "text", 5_000),
        ("upload-detailed-resume", "text", 16_000),
        ("create-service", "jobText", 16_000),
    ],
)
def test_a_text_too_long_is_refused_with_its_length_and_the_limit(
    world: World, action: str, field: str, limit: int
) -> None:
    response = world.ask(action, {field: "好" * (limit + 1)})
    assert_refused(response, 422, "text_too_long")
    assert str(limit) in response.json()["message"]
    assert str(limit + 1) in response.json()["message"]


def test_a_text_of_exactly_the_limit_is_accepted(world: World) -> None:
    assert world.ask("upload-resume", {"text": "好" * 5_000}).status_code == 202


@pytest.mark.parametrize("data", [b"GIF89a.....", b"<svg/>", b"%PDF-1.7", b"RIFF1234WAVE"])
def test_an_image_is_known_by_its_content_and_not_by_its_name(world: World, data: bytes) -> None:
    world.with_resume()
    assert_refused(world.ask("create-service", {"jobImage": data_url(data)}), 415, "unsupported_file_type")


@pytest.mark.parametrize("data", [picture("PNG"), picture("JPEG"), picture("WEBP")])
def test_png_jpeg_and_webp_are_taken_whatever_they_are_called(world: World, data: bytes) -> None:
    world.with_resume()
    assert world.ask("create-service", {"jobImage": data_url(data, "text/plain")}).status_code == 202


def test_an_image_too_large_is_refused(world: World) -> None:
    image = {"jobImage": data_url(PNG + b"\0" * MAX_IMAGE_BYTES)}
    assert_refused(world.ask("create-service", image), 413, "file_too_large")


def test_a_body_too_large_is_refused_whatever_it_says_of_its_length(world: World, tmp_path: Path) -> None:
    """In the function's own process: what a body may weigh is decided by the server, the framework and us together."""
    headers = {"Authorization": f"Bearer {user_token('ada')}", "Content-Type": "application/json"}
    body = b"x" * (MAX_BODY_BYTES + 1)
    environ = {**world.environ, "QSTASH_URL": "http://127.0.0.1:1"}
    with run_function("actions", environ, tmp_path) as url:
        for content in (body, iter([body])):
            response = world.http.post(f"{url}/actions/upload-resume", content=content, headers=headers)
            assert_refused(response, 413, "file_too_large")


TOKENS = {
    "none": None,
    "no bearer": "Basic YTpi",
    "garbage": "Bearer x.y.z",
    "unsigned": "Bearer " + jwt.encode({"sub": "ada"}, "", algorithm="none"),
    "another secret": "Bearer "
    + jwt.encode({"sub": "ada"}, "another secret, just as long as the right one", "HS256"),
    "a stream token": "Bearer " + StreamTokens(STREAM_SECRET, 60).issue("ada", "s", "t"),
}


@pytest.mark.parametrize("authorization", TOKENS.values(), ids=TOKENS.keys())
def test_nothing_is_done_without_a_valid_user_token(world: World, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    reads = ("/quota", "/resume", "/services", "/services/x", "/tasks/x")
    calls = [("GET", path) for path in reads] + [("POST", f"/actions/{action}") for action in Action]
    for method, path in [*calls, ("POST", "/tasks/x/cancel")]:
        response = world.http.request(method, world.actions_url + path, headers=headers, content=b"{}")
        assert_refused(response, 401, "auth_required")
    assert world.dump() == {}


def test_a_service_needs_a_summarised_resume_first(world: World) -> None:
    """D23: while it is under way it is not there yet; nothing is used up by asking."""
    accepted, publish = world.start()
    before = world.dump()
    broken = data_url(PNG[:40])  # and no picture is decoded for it
    for body in ({"jobText": JOB}, {"jobImage": data_url()}, {"jobImage": broken}):
        assert_refused(world.ask("create-service", body), 409, "resume_required")
    assert world.dump() == before
    world.finish(publish)
    assert world.ask("create-service", {"jobText": JOB}).status_code == 202
    assert accepted["taskId"]


def test_a_new_upload_keeps_the_old_resume_until_it_is_done(world: World) -> None:
    """D23."""
    world.with_resume()
    accepted, _ = world.start()
    assert world.get("/resume").json()["summary"] == dict(RESULTS[Template.RESUME_SUMMARY])
    world.cancel(accepted["taskId"])
    assert world.ask("create-service", {"jobText": JOB}).status_code == 202


@pytest.mark.parametrize("action", ["customize-resume", "interview-tips"])
def test_what_builds_on_a_match_needs_it_done(world: World, action: str) -> None:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    before, body = world.dump(), {"serviceId": accepted["serviceId"]}
    assert_refused(world.ask(action, body), 409, "match_required")
    assert world.dump() == before
    world.finish(publish)
    assert world.ask(action, body).status_code == 202


def test_what_belongs_to_another_user_does_not_exist(world: World) -> None:
    """D25."""
    service_id = world.with_match("ada")
    accepted, _ = world.start(user="ada")
    for response in (
        world.ask("customize-resume", {"serviceId": service_id}, user="eve"),
        world.ask("interview-tips", {"serviceId": service_id}, user="eve"),
        world.get(f"/services/{service_id}", user="eve"),
        world.get(f"/tasks/{accepted['taskId']}", user="eve"),
        world.cancel(accepted["taskId"], user="eve"),
        world.get("/tasks/nothing"),
        world.get("/services/nothing"),
        world.ask("customize-resume", {"serviceId": "nothing"}),
    ):
        assert_refused(response, 404, "not_found")
    assert world.get("/services", user="eve").json()["services"] == []
    assert world.get("/resume", user="eve").json()["summary"] is None
    assert world.record(accepted["taskId"])["state"] == "queued"


def test_d22_d26_a_full_queue_refuses_with_a_time_and_writes_and_publishes_nothing(world: World) -> None:
    """D19 to D22, D26: full is said before the answer, and leaves no trace."""
    world.change(QUEUE_MAX_PAID_BATCH="1")
    world.start(user="someone")
    before, requests = world.dump(), world.qstash.requests
    response = world.ask("upload-resume", {"text": RESUME}, key="k")
    assert_refused(response, 429, "queue_full")
    assert response.json()["queueId"] == "paid_batch"
    assert 1 <= response.json()["retryAfter"] <= 300
    assert world.dump() == before
    assert world.qstash.requests == requests


def test_d3_a_second_queue_that_is_full_refuses_the_first_step_too(world: World) -> None:
    """D3: a place in every queue that the task will visit, or in none; the image is not kept."""
    world.change(QUEUE_MAX_PAID_STREAM="1")
    for user in ("someone", "ada"):
        world.with_resume(user)
    world.start("create-service", {"jobText": JOB}, user="someone")
    before = world.dump()
    response = world.ask("create-service", {"jobImage": data_url()})
    assert_refused(response, 429, "queue_full")
    assert response.json()["queueId"] == "paid_stream"
    assert world.dump() == before
    assert [path for path in world.blobs.rglob("*") if path.is_file()] == []


def test_a_user_over_the_cap_is_refused_with_a_time_and_nothing_is_used_up(world: World) -> None:
    world.change(USER_MAX_ACTIVE="2")
    world.start()
    world.start()
    before = world.dump()
    response = world.ask("upload-resume", {"text": RESUME})
    assert_refused(response, 429, "user_busy")
    assert response.json()["retryAfter"] >= 1
    assert world.dump() == before
    assert world.ask("upload-resume", {"text": RESUME}, user="someone").status_code == 202


def test_two_images_of_one_user_run_side_by_side(world: World) -> None:
    """D4: no lock of a user beside the cap."""
    world.with_resume()
    publishes = [world.start("create-service", {"jobImage": data_url(PNG + bytes([i]))})[1] for i in range(2)]
    assert {world.claim(publish).status for publish in publishes} == {"claimed"}


def test_without_redis_everything_is_refused_with_a_time(world: World) -> None:
    """D9."""
    world.change(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    for response in (world.ask("upload-resume", {"text": RESUME}), world.get("/quota"), world.cancel("x")):
        assert_refused(response, 503, "store_unavailable")
        assert response.json()["retryAfter"] >= 1


# -- addresses, methods, origins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("POST", "/actions/make-coffee", 404),
        ("POST", "/callbacks/other", 404),
        ("POST", "/tasks/x/retry", 404),
        ("GET", "/quota/x", 404),
        ("GET", "/actions/upload-resume", 405),
        ("POST", "/quota", 405),
        ("DELETE", "/services/x", 405),
        ("GET", "/tasks/x/cancel", 405),
        ("GET", "/callbacks/step", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_an_unknown_address_or_method_is_said_to_be_so(
    world: World, method: str, path: str, status: int
) -> None:
    response = world.http.request(method, world.actions_url + path)
    assert_refused(response, status, "not_found" if status == 404 else "method_not_allowed")


def test_health_needs_no_token_and_no_redis(world: World) -> None:
    world.change(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    response = world.http.get(f"{world.actions_url}/healthz")
    assert (response.status_code, response.json()) == (200, {"ok": True})


def test_an_allowed_origin_may_call_and_read_refusals_too(world: World) -> None:
    preflight = world.http.options(f"{world.actions_url}/actions/upload-resume", headers={"Origin": ORIGIN})
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    for header in ("Authorization", "Content-Type", "Idempotency-Key"):
        assert header in preflight.headers["Access-Control-Allow-Headers"]
    refused = world.ask("upload-resume", {}, Origin=ORIGIN)
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
    assert refused.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.test", "null", ORIGIN + ".evil.test", ORIGIN + "/"])
def test_another_origin_gets_no_permission(world: World, origin: str) -> None:
    response = world.http.options(f"{world.actions_url}/actions/upload-resume", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_no_answer_with_a_users_data_is_ever_cached(world: World) -> None:
    for response in (
        world.get("/quota"),
        world.ask("upload-resume", {"text": RESUME}),
        world.get("/tasks/x"),
    ):
        assert response.headers["Cache-Control"] == "no-store"


def test_a_lanes_address_is_nothing_that_actions_answers(world: World) -> None:
    for lane in Lane:
        template = next(iter(Template))
        assert world.http.post(world.actions_url + lane.path(template)).status_code == 404


def test_a_data_url_with_parameters_is_understood(world: World) -> None:
    world.with_resume()
    image = "data:image/png;name=a.png;base64," + base64.b64encode(PNG).decode()
    assert world.ask("create-service", {"jobImage": image}).status_code == 202
