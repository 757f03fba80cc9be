"""The operators' page and its JSON over HTTP: who gets in, what a change needs, what each page shows and hides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

import httpx
import pytest

from shared.actions.operators import COOKIE, NAME_HEADER
from shared.errors import PermanentTaskError
from shared.routing import Lane, Model, Tier
from shared.state import keys
from shared.state.controls import read_controls
from shared.state.replays import successor_id
from tests.integration.http.kit import JOB, ORIGIN, RESUME, World, user_token
from tests.integration.http.stand_ins import MATCH_TEXT, failing

TOKEN = "a token of operators alone, of thirty-two bytes and more"
PAGES = ["", "/lanes/paid_stream", "/drain", "/dead-letters", "/tasks", "/usage"]
READS = ["overview", "dead-letters"]
BROKEN = failing(PermanentTaskError("invalid_output", "The answer is no JSON."))


@dataclass
class Desk:
    """An operator before a world: `page` is their browser, `script` sends the token."""

    world: World
    page: httpx.Client
    script: httpx.Client

    def sign_in(self, name: str = "ada", token: str = TOKEN) -> httpx.Response:
        return self.page.post("/ops/sign-in", data={"name": name, "token": token})

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="(\w+)"', self.page.get("/ops/drain").text)
        assert found
        return found[1]

    def order(self, path: str, **fields: str) -> httpx.Response:
        return self.page.post(f"/ops{path}", data={"form_token": self.form_token, **fields})

    def fail_match(self) -> tuple[str, str]:
        self.world.with_resume()
        accepted, publish = self.world.start("create-service", {"jobText": JOB})
        self.world.model.acts.append(BROKEN)
        self.world.deliver(publish)
        return str(accepted["taskId"]), self.world.qstash.give_up(publish)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    world.change(OPS_TOKEN=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}", NAME_HEADER: "cron"}
    with (
        httpx.Client(base_url=world.actions_url, verify=False) as page,
        httpx.Client(base_url=world.actions_url, headers=headers, verify=False) as script,
    ):
        yield Desk(world, page, script)


def told(response: httpx.Response) -> str:
    """Return a page's text as it is read."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.text)))


# -- who gets in ------------------------------------------------------------------------------------------------------


def test_without_a_token_configured_there_is_nothing_at_any_of_these_addresses(world: World) -> None:
    for path in [*PAGES, "/sign-in", "/static/ops.css", *(f"/api/{name}" for name in READS)]:
        response = world.http.get(f"{world.actions_url}/ops{path}", headers={"Authorization": "Bearer x"})
        assert (response.status_code, response.json()["error"]) == (404, "not_found"), path
    posted = world.http.post(f"{world.actions_url}/ops/sign-in", data={"name": "ada", "token": ""})
    assert posted.status_code == 404


@pytest.mark.parametrize("path", [*PAGES, "/tasks/x", "/dead-letters/x", "/nothing"])
def test_a_page_sends_whoever_has_not_signed_in_to_do_so(desk: Desk, path: str) -> None:
    desk.page.cookies.set(COOKIE, "forged", path="/ops")
    response = desk.page.get(f"/ops{path}")
    assert (response.status_code, response.headers["Location"]) == (303, "/ops/sign-in")
    assert response.text == ""


def test_a_page_takes_no_bearer_token_and_the_json_takes_no_cookie(desk: Desk) -> None:
    assert desk.script.get("/ops").status_code == 303
    desk.sign_in()
    assert desk.page.get("/ops/api/overview").status_code == 401


@pytest.mark.parametrize("name", READS)
def test_the_json_is_for_the_right_token_alone(desk: Desk, name: str) -> None:
    for header in ("", "Bearer wrong", f"Bearer {user_token('ada')}", f"Basic {TOKEN}"):
        response = desk.page.get(f"/ops/api/{name}", headers={"Authorization": header})
        assert (response.status_code, response.json()["error"]) == (401, "auth_required"), header
    assert desk.script.get(f"/ops/api/{name}").json()["ok"] is True


def test_signing_in_and_out(desk: Desk) -> None:
    assert desk.page.get("/ops/sign-in").status_code == 200
    signed_in = desk.sign_in("ada")
    assert (signed_in.status_code, signed_in.headers["Location"]) == (303, "/ops")
    cookie = signed_in.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/ops"} <= set(cookie.split("; "))
    assert "Secure" not in cookie  # plain HTTP in dev
    assert "ada" in told(desk.page.get("/ops"))
    assert desk.order("/sign-out").status_code == 303
    assert desk.page.get("/ops").status_code == 303


def test_the_cookie_is_for_encrypted_connections_outside_dev(desk: Desk) -> None:
    secret = "x" * 40
    desk.world.change(SLUICE_ENV="prod", AUTH_JWT_SECRET=secret, STREAM_TOKEN_SECRET=f"{secret}2")
    desk.world.change(QSTASH_CURRENT_SIGNING_KEY="sig_a", QSTASH_NEXT_SIGNING_KEY="sig_b")
    with World(desk.world.environ["REDIS_URL"], desk.world.blobs, desk.world.environ) as other:
        sent = {"name": "ada", "token": TOKEN}
        response = other.http.post(f"{other.actions_url}/ops/sign-in", data=sent)
    assert "Secure" in response.headers["Set-Cookie"].split("; ")


def test_a_wrong_token_opens_nothing_and_is_counted(desk: Desk) -> None:
    for _ in range(10):
        refused = desk.sign_in(token="wrong")
        assert refused.status_code == 401
        assert "Set-Cookie" not in refused.headers
        assert "This is not the token." in told(refused)
    limited = desk.sign_in()
    assert (limited.status_code, int(limited.headers["Retry-After"]) > 0) == (429, True)


def test_a_name_that_is_none_is_said_to_be_none(desk: Desk) -> None:
    assert desk.sign_in(name=" ").status_code == 400
    assert "<b>" not in desk.sign_in(name="<b>", token="wrong").text


# -- what an answer carries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/nothing", "/tasks/nothing"])
def test_no_page_runs_others_scripts_is_framed_kept_or_named_to_others(desk: Desk, path: str) -> None:
    desk.sign_in()
    response = desk.page.get(f"/ops{path}", headers={"Origin": ORIGIN})
    policy = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "Access-Control-Allow-Origin" not in response.headers
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|javascript:", response.text)


def test_style_and_script_are_addressed_by_what_is_in_them(desk: Desk) -> None:
    page = desk.page.get("/ops/sign-in").text
    for name in ("ops.css", "ops.js", "sluice.svg"):
        (address,) = set(re.findall(rf'"(/ops/static/{name}\?\w+)"', page))
        response = desk.page.get(address)
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]
    for wrong in ("../site.py", "ops", "%2e%2e/site.py"):
        assert desk.page.get(f"/ops/static/{wrong}").status_code in {303, 404}


# -- changes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/controls", "/sign-out", "/dead-letters/x/replay", "/dead-letters/x/delete", "/tasks/x/replay"]
)
def test_a_change_needs_the_form_token_of_this_session(desk: Desk, path: str) -> None:
    desk.sign_in("grace")
    others = desk.form_token
    desk.sign_in("ada")
    fields = {"order": "drain", "reason": "x", "for": "1h"}
    for token in ({}, {"form_token": ""}, {"form_token": others}):
        response = desk.page.post(f"/ops{path}", data={**fields, **token})
        assert response.status_code == 401
        assert "another session" in told(response)
    mine = {"form_token": desk.form_token}
    strange = desk.page.post(f"/ops{path}", data={**fields, **mine}, headers={"Sec-Fetch-Site": "cross-site"})
    assert strange.status_code == 401
    as_json = desk.page.post(f"/ops{path}", json={**fields, **mine})
    assert as_json.status_code == 400
    assert read_controls(desk.world.store).draining is None
    assert desk.page.get("/ops").status_code == 200


def test_a_lane_is_stopped_and_started_with_who_why_and_until_when(desk: Desk) -> None:
    desk.sign_in("ada")
    order = desk.order(
        "/controls", order="stop", lane="paid_stream", reason="the provider is down", **{"for": "1h"}
    )
    assert order.headers["Location"] == "/ops/lanes/paid_stream?done=changed"
    control = read_controls(desk.world.store).stopped[Lane.PAID_STREAM]
    assert (control.by, control.reason) == ("ada", "the provider is down")
    assert control.until_ms
    assert control.until_ms - control.since_ms == 3_600_000
    for path in ("", "/lanes/paid_stream"):
        shown = told(desk.page.get(f"/ops{path}"))
        assert "topped by ada" in shown
        assert "the provider is down" in shown
    desk.order("/controls", order="start", lane="paid_stream")
    assert not read_controls(desk.world.store).stopped
    assert "ada started paid_stream" in told(desk.page.get("/ops"))


def test_limits_are_set_and_given_back(desk: Desk) -> None:
    desk.sign_in("ada")
    why = {"reason": "the provider halved us", "for": ""}
    desk.order("/controls", order="places", lane="free_batch", value="7", **why)
    slots = desk.order(
        "/controls", order="slots", pair="deepseek-chat:paid", value="1", back="paid_batch", **why
    )
    assert slots.headers["Location"] == "/ops/lanes/paid_batch?done=changed"
    controls, limits = read_controls(desk.world.store), desk.world.application.settings.concurrency
    assert controls.places_limit(limits, Lane.FREE_BATCH) == 7
    assert controls.slots_limit(limits, Model.DEEPSEEK_CHAT, Tier.PAID) == 1
    assert controls.places[Lane.FREE_BATCH].until_ms is None
    assert "0 / 7 set, configured 20" in told(desk.page.get("/ops"))
    desk.order("/controls", order="places", lane="free_batch", value="")
    desk.order("/controls", order="slots", pair="deepseek-chat:paid", value="")
    controls = read_controls(desk.world.store)
    assert not controls.places
    assert not controls.slots


def test_draining_is_on_every_overview_until_it_ends(desk: Desk) -> None:
    desk.sign_in("ada")
    desk.order("/controls", order="drain", reason="Redis moves", **{"for": "15m"})
    assert "Draining. Nothing new is admitted, by ada" in told(desk.page.get("/ops"))
    assert desk.world.ask("upload-resume", {"text": RESUME}).status_code == 503
    desk.order("/controls", order="resume")
    assert desk.world.ask("upload-resume", {"text": RESUME}).status_code == 202


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"order": "explode"}, "order"),
        ({"order": "stop", "lane": "nowhere", "reason": "x"}, "lane"),
        ({"order": "stop", "lane": "paid_stream", "reason": ""}, "reason"),
        ({"order": "slots", "pair": "gpt:paid", "value": "1", "reason": "x"}, "pair"),
        ({"order": "slots", "pair": "deepseek-chat:gold", "value": "1", "reason": "x"}, "pair"),
        ({"order": "places", "lane": "paid_stream", "value": "-1", "reason": "x"}, "value"),
        ({"order": "places", "lane": "paid_stream", "value": "many", "reason": "x"}, "value"),
        ({"order": "slots", "pair": "deepseek-chat:paid", "value": "0", "reason": "x"}, "value"),
        ({"order": "drain", "reason": "x", "for": "ever"}, "for"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_by_the_name_of_the_field(
    desk: Desk, fields: dict[str, str], named: str
) -> None:
    desk.sign_in()
    page, script = desk.order("/controls", **fields), desk.script.post("/ops/api/controls", json=fields)
    assert page.status_code == script.status_code == 400
    assert f"{named}:" in told(page)
    assert script.json()["message"].startswith(f"{named}:")


def test_a_script_changes_controls_by_its_own_name(desk: Desk) -> None:
    desk.script.get("/ops/api/overview")
    order = {"order": "stop", "lane": "paid_stream", "reason": "night", "for": "15m"}
    change = desk.script.post("/ops/api/controls", json=order).json()["change"]
    assert (change["by"], change["after"]["reason"]) == ("cron", "night")
    overview = desk.script.get("/ops/api/overview").json()
    (stopped,) = [panel for panel in overview["lanes"] if panel["view"]["stopped"]]
    assert stopped["view"]["lane"] == "paid_stream"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff"])
def test_an_order_that_is_no_json_object_is_refused(desk: Desk, body: bytes) -> None:
    for name in ("controls", "replay"):
        assert desk.script.post(f"/ops/api/{name}", content=body).status_code == 400


def test_other_methods_and_addresses_are_refused(desk: Desk) -> None:
    desk.sign_in()
    assert desk.page.put("/ops").status_code == 405
    assert desk.script.post("/ops/api/overview").status_code == 405
    assert desk.script.put("/ops/api/replay").status_code == 405
    assert desk.script.get("/ops/api/nothing").status_code == 404
    assert desk.order("/nothing").status_code == 404


# -- dead letters and replay ------------------------------------------------------------------------------------------


def test_a_dead_letter_is_shown_and_replayed_with_its_task_named(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    desk.sign_in("ada")
    assert letter_id in told(desk.page.get("/ops/dead-letters"))
    letter = told(desk.page.get(f"/ops/dead-letters/{letter_id}"))
    assert "489 invalid_output" in letter
    assert f"Replay as a new task: task {task_id[:8]}" in letter
    replayed = desk.order(f"/dead-letters/{letter_id}/replay")
    new = successor_id(task_id)
    assert replayed.headers["Location"] == f"/ops/tasks/{new}?done=replayed"
    page = desk.page.get(replayed.headers["Location"])
    assert "takes the place of the one that failed" in told(page)
    assert f'href="/ops/tasks/{task_id}"' in page.text
    assert f'href="/ops/tasks/{new}"' in desk.page.get(f"/ops/tasks/{task_id}").text
    again = desk.order(f"/dead-letters/{letter_id}/replay")
    assert (again.status_code, "no such dead letter" in told(again)) == (404, True)
    assert (
        desk.order(f"/tasks/{task_id}/replay").headers["Location"] == f"/ops/tasks/{new}?done=replayed-before"
    )


def test_a_dead_letter_is_deleted_and_its_task_stays(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    desk.sign_in()
    before = desk.world.record(task_id)
    desk.order(f"/dead-letters/{letter_id}/delete")
    assert desk.world.qstash.letters == {}
    assert desk.world.record(task_id) == before


def test_a_replay_that_is_refused_says_why_on_the_page(desk: Desk) -> None:
    accepted, publish = desk.world.start()
    desk.world.model.acts.append(BROKEN)
    desk.world.deliver(publish)
    desk.sign_in()
    refused = desk.order(f"/tasks/{accepted['taskId']}/replay")
    assert refused.status_code == 409
    assert "text of an upload is not kept" in told(refused)
    assert "Replay task" not in told(desk.page.get(f"/ops/tasks/{accepted['taskId']}"))


def test_scripts_list_replay_and_delete_dead_letters(desk: Desk) -> None:
    task_id, letter_id = desk.fail_match()
    (letter,) = desk.script.get("/ops/api/dead-letters").json()["deadLetters"]
    assert (letter["dlqId"], letter["taskId"], letter["taskState"], letter["replay"], letter["code"]) == (
        letter_id,
        task_id,
        "failed",
        "readmit",
        "invalid_output",
    )
    replayed = desk.script.post("/ops/api/replay", json={"id": letter_id}).json()
    assert (replayed["way"], replayed["replayOf"], replayed["taskId"]) == (
        "readmit",
        task_id,
        successor_id(task_id),
    )
    other = desk.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    refused = desk.script.post("/ops/api/replay", json={"id": other})
    assert (refused.status_code, refused.json()["error"]) == (409, "not_possible")
    assert desk.script.delete(f"/ops/api/dead-letters/{other}").json() == {"ok": True, "deleted": other}
    assert desk.script.delete(f"/ops/api/dead-letters/{other}").status_code == 404
    assert desk.script.post("/ops/api/replay", json={"id": " "}).status_code == 400
    assert desk.script.get("/ops/api/dead-letters?count=0").status_code == 400


def test_with_qstash_away_the_page_says_so_and_when_to_come_back(desk: Desk) -> None:
    desk.world.qstash.is_away = True
    desk.sign_in()
    page, script = desk.page.get("/ops/dead-letters"), desk.script.get("/ops/api/dead-letters")
    assert page.status_code == script.status_code == 503
    assert "QStash is not available" in told(page)
    assert page.headers["Retry-After"] == script.headers["Retry-After"] == "5"


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_the_overview_shows_what_runs_what_is_late_and_the_last_hour(desk: Desk) -> None:
    desk.world.with_match()
    accepted, publish = desk.world.start("create-service", {"jobText": JOB})
    desk.world.claim(publish)
    late, _ = desk.world.start("create-service", {"jobText": JOB})
    desk.world.make_overdue(late["taskId"])
    desk.sign_in()
    page = desk.page.get("/ops")
    shown = told(page)
    assert f'id="task-running-{accepted["taskId"]}"' in page.text
    assert f'id="task-overdue-{late["taskId"]}"' in page.text
    assert "1 overdue." in shown
    assert "2 / 100" in shown
    assert "1 / 5" in shown
    panel = next(
        p for p in desk.script.get("/ops/api/overview").json()["lanes"] if p["view"]["lane"] == "paid_stream"
    )
    assert panel["hour"]["ended"] == 1
    assert sum(panel["hour"]["byMinute"]) == 1
    assert panel["view"]["placesUsed"] == 2


def test_a_task_is_found_by_its_id_and_a_users_tasks_by_theirs(desk: Desk) -> None:
    accepted, publish = desk.world.start(user="user with/strange?name")
    desk.world.finish(publish)
    desk.sign_in()
    found = desk.page.get("/ops/tasks", params={"find": f" {accepted['taskId']} "})
    assert found.headers["Location"] == f"/ops/tasks/{accepted['taskId']}"
    assert accepted["taskId"][:8] in told(
        desk.page.get("/ops/tasks", params={"find": "user with/strange?name"})
    )
    assert "no task and no user" in told(desk.page.get("/ops/tasks", params={"find": "nobody"}))
    assert desk.page.get("/ops/tasks/nothing").status_code == 404


def test_usage_is_drawn_by_model(desk: Desk) -> None:
    desk.world.with_match()
    desk.sign_in()
    page = desk.page.get("/ops/usage")
    assert "deepseek-reasoner" in told(page)
    assert "deepseek-chat" in told(page)
    assert page.text.count("<rect") == 4


def test_no_page_and_no_answer_holds_a_text_of_a_users_or_a_models(desk: Desk) -> None:
    service_id = desk.world.with_match()
    task_id, letter_id = desk.fail_match()
    desk.world.start("interview-tips", {"serviceId": service_id})
    desk.sign_in()
    done = json.loads(desk.world.store.command("HGET", keys.service(service_id), "task:create-service"))
    pages = [*PAGES, f"/tasks/{done}", f"/tasks/{task_id}", "/tasks?find=ada", f"/dead-letters/{letter_id}"]
    said = [desk.page.get(f"/ops{path}").text for path in pages]
    said += [desk.script.get(f"/ops/api/{name}").text for name in READS]
    for text in (RESUME, JOB, MATCH_TEXT.split("\n")[2], "secret of the model"):
        assert not any(text in unescape(page) for page in said), text


def test_an_id_that_looks_like_markup_is_none(desk: Desk) -> None:
    user = "<img src=x onerror=alert(1)>"
    desk.world.start(user=user)
    desk.sign_in()
    for path in ("/tasks", "/tasks?find=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"):
        assert "<img src=x" not in desk.page.get(f"/ops{path}").text
