"""The operators' page in a real browser: by mouse, by keyboard alone, on a phone; what it says and when it says it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Locator, Page, Route, expect

from devstack.frontend import JOB, TLS, Frontend, until
from devstack.page.server import PageServer
from devstack.stack import Stack
from shared.state.replays import successor_id
from tests.browser.page_kit import tab_to

SECONDS = 45
MOST_TABS = 60
REFRESH_MS = 3_000


@dataclass
class Operator:
    """Whoever is on call, with the page open; and a user whose tasks they look after."""

    page: Page
    stack: Stack
    user: Frontend

    @property
    def url(self) -> str:
        return f"{self.stack.url('actions')}/ops"

    def sign_in(self) -> None:
        self.page.goto(self.url)
        self.page.fill("#name", "ada")
        self.page.fill("#token", self.stack.ops_token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_selector("#lanes")

    def lane(self, name: str) -> Locator:
        return self.page.locator(f'[data-lane="{name}"]')

    def tab_to(self, target: Locator) -> None:
        tab_to(self.page, target, MOST_TABS)

    def fail_a_match(self) -> tuple[str, str]:
        """Have a task that fails for good; returns its id and that of its dead letter."""
        label = f"ref-{uuid.uuid4().hex[:10]}"
        self.stack.llm.fail("filtered", about=label)
        accepted = self.user.act("create-service", {"jobText": f"{JOB}\n{label}", "locale": "en"})
        assert self.user.outcome(accepted)["state"] == "failed"
        task_id = str(accepted["taskId"])
        return task_id, until(lambda: self.letter_of(task_id), "the dead letter", SECONDS)

    def letter_of(self, task_id: str) -> str | None:
        """Return the id of the dead letter about a task, if there is one."""
        headers = {"Authorization": f"Bearer {self.stack.ops_token}"}
        letters = httpx.get(f"{self.url}/api/dead-letters", headers=headers, verify=TLS).json()["deadLetters"]
        return next((letter["dlqId"] for letter in letters if letter["taskId"] == task_id), None)


@pytest.fixture(scope="module")
def user(served: tuple[Stack, PageServer]) -> Frontend:
    return Frontend(served[0], f"on-call-{uuid.uuid4().hex[:6]}").with_resume()


@pytest.fixture
def operator(browser: Browser, served: tuple[Stack, PageServer], user: Frontend) -> Iterator[Operator]:
    """An operator with a page of their own; whatever the page complains of fails the test."""
    stack, _ = served
    context = browser.new_context(locale="en-GB", viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield Operator(page, stack, user)
    context.close()
    stack.llm.heal()
    assert not complaints, complaints


def test_a_dead_letter_is_replayed_by_keyboard_alone_from_the_sign_in_on(operator: Operator) -> None:
    task_id, letter_id = operator.fail_a_match()
    page, keys = operator.page, operator.page.keyboard
    page.goto(operator.url)
    expect(page.locator("#name")).to_be_focused()
    keys.type("ada")
    keys.press("Tab")
    keys.type(operator.stack.ops_token)
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    operator.tab_to(page.get_by_role("link", name="Dead letters"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
    operator.tab_to(page.locator(f"#letter-{letter_id}"))
    keys.press("Enter")
    expect(page.locator("#replay")).to_contain_text(task_id[:8])
    operator.tab_to(page.locator("#replay"))
    keys.press("Enter")
    new = successor_id(task_id)
    expect(page.get_by_role("status").first).to_contain_text("takes the place of the one that failed")
    expect(page.get_by_role("heading", level=1)).to_contain_text(new)
    expect(page.get_by_role("link", name=task_id[:8])).to_be_visible()
    assert operator.user.outcome({"taskId": new})["state"] == "done"
    assert operator.letter_of(task_id) is None


def test_a_stopped_lane_refuses_deliveries_until_it_is_started(operator: Operator) -> None:
    operator.sign_in()
    page = operator.page
    page.get_by_role("link", name="Change paid_stream").click()
    page.fill("#stop-reason", "the provider is down")
    page.get_by_role("button", name="Stop paid_stream").click()
    expect(page.locator("main")).to_contain_text("Stopped by ada")
    accepted = operator.user.act("create-service", {"jobText": JOB, "locale": "en"})
    page.goto(operator.url)
    expect(page.locator("#banners")).to_contain_text("paid_stream is stopped")
    expect(operator.lane("paid_stream")).to_contain_text(re.compile(r"\d+ delivery lane_stopped"))
    assert operator.user.status(accepted)["state"] == "queued"
    page.get_by_role("link", name="Change paid_stream").click()
    page.get_by_role("button", name="Start paid_stream again").click()
    assert operator.user.outcome(operator.user.act("create-service", {"jobText": JOB}))["state"] == "done"
    operator.user.post(f"/tasks/{accepted['taskId']}/cancel")  # else its next delivery comes in half a minute
    page.goto(operator.url)
    expect(page.locator("#banners")).to_be_hidden()
    expect(page.locator("#changes")).to_contain_text("ada started paid_stream")


def test_a_limit_is_changed_for_an_hour_and_whoever_looks_sees_it_without_loading_again(
    operator: Operator,
) -> None:
    operator.sign_in()
    other = operator.page.context.new_page()
    other.goto(f"{operator.url}/lanes/free_batch")
    other.fill("#places-value", "3")
    other.fill("#places-reason", "a crowd of robots")
    other.get_by_role("button", name="Set the places").click()
    expect(other.locator("main")).to_contain_text("a crowd of robots")
    shown = operator.lane("free_batch")
    expect(shown).to_contain_text("set, configured 20")
    expect(shown.get_by_role("meter").first).to_have_attribute("max", "3")
    other.get_by_role("button", name="Back to the configured 20 places").click()
    expect(shown).not_to_contain_text("set, configured")


def test_a_refresh_leaves_the_focus_where_it_is(operator: Operator) -> None:
    operator.sign_in()
    page = operator.page
    page.locator("#change-free_batch").focus()
    page.evaluate("document.getElementById('lanes').firstElementChild.dataset.old = ''")
    before = page.locator("#as-of").text_content()
    expect(page.locator("#as-of")).not_to_have_text(before or "")
    expect(page.locator("[data-old]")).to_have_count(0)
    expect(page.locator("#change-free_batch")).to_be_focused()


def test_it_says_when_it_has_lost_contact_and_when_it_has_it_again(operator: Operator) -> None:
    operator.sign_in()
    page = operator.page

    def lose(route: Route) -> None:
        route.abort()

    page.route("**/ops", lose)
    expect(page.locator("#contact")).to_contain_text("No contact since")
    page.unroute("**/ops", lose)
    expect(page.locator("#contact")).to_be_hidden()


def test_it_asks_for_nothing_while_it_is_hidden_or_paused(operator: Operator) -> None:
    page = operator.page
    page.clock.install()
    operator.sign_in()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    hide(page, "true")
    page.clock.run_for(20 * REFRESH_MS)
    assert asked == []
    with page.expect_response("**/ops"):
        hide(page, "false")
    page.get_by_role("button", name="Pause").click()
    asked.clear()
    page.clock.run_for(20 * REFRESH_MS)
    assert asked == []
    with page.expect_response("**/ops"):
        page.get_by_role("button", name="Pause").click()


def test_an_answer_that_comes_when_the_page_is_hidden_already_asks_for_no_other(operator: Operator) -> None:
    page = operator.page
    page.clock.install()
    operator.sign_in()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/ops", hold)
    with page.expect_request("**/ops"):
        page.clock.run_for(2 * REFRESH_MS)
    hide(page, "true")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("document.getElementById('as-of').textContent = 'old'")
    until(lambda: held or None, "the request", SECONDS)
    held[0].continue_()
    expect(page.locator("#as-of")).not_to_have_text("old")
    for _ in range(2):
        page.clock.run_for(20 * REFRESH_MS)
    assert asked == []


def hide(page: Page, hidden: str) -> None:
    """Have the page in another tab than the one that is looked at, or not."""
    page.evaluate(f"Object.defineProperty(document, 'hidden', {{ configurable: true, value: {hidden} }})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_session_that_is_over_leads_to_the_sign_in(operator: Operator) -> None:
    operator.sign_in()
    operator.page.context.clear_cookies()
    expect(operator.page.locator("#token")).to_be_visible()


def test_the_page_of_the_dev_stack_leads_here(operator: Operator, served: tuple[Stack, PageServer]) -> None:
    operator.page.goto(served[1].url)
    operator.page.locator('a[href="/dev/ops"]').click()
    expect(operator.page.locator("#token")).to_be_visible()
    assert operator.page.url.startswith(operator.url)


def test_axe_finds_no_serious_fault_on_any_page(operator: Operator) -> None:
    """With a failed task, a dead letter, a change and a banner on them; wide and light, or dark on a phone."""
    task_id, letter_id = operator.fail_a_match()
    page, axe = operator.page, Axe()
    page.goto(operator.url)
    faults = _serious(axe, page)
    operator.sign_in()
    page.goto(f"{operator.url}/drain")
    page.fill("#drain-reason", "a picture for axe")
    page.get_by_role("button", name="Drain all lanes").click()
    places = ["", "/drain", "/lanes/paid_stream", "/dead-letters", f"/dead-letters/{letter_id}"]
    places += [f"/tasks/{task_id}", f"/tasks?find={operator.user.user}", "/nothing", "/usage", ""]
    try:
        for n, place in enumerate(places):
            width = (1400, 390)[n % 2]
            page.emulate_media(color_scheme="light" if width == 1400 else "dark")
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{operator.url}{place}")
            faults |= {f"{place} {name}": nodes for name, nodes in _serious(axe, page).items()}
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{place} is too wide"
    finally:
        page.goto(f"{operator.url}/drain")
        page.get_by_role("button", name="Admit again").click()
        expect(page.locator("#banners")).to_be_hidden()
    assert not faults, json.dumps(faults, indent=1)


def _serious(axe: Axe, page: Page) -> dict[str, list[str]]:
    found = axe.run(page).response["violations"]
    return {
        f"{fault['impact']} {fault['id']}": [
            node["html"] + " " + node.get("failureSummary", "") for node in fault["nodes"]
        ]
        for fault in found
        if fault["impact"] in {"serious", "critical"}
    }
