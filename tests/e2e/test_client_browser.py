"""The client for frontends in a real Chromium, on a page of its own origin, against a running stack."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from devstack.frontend import JOB, Frontend
from devstack.proxy import Front
from devstack.serving import AppServer
from devstack.stack import Stack
from shared.routing import Lane
from tests.chromium_kit import chromium
from tests.client.harness import FOLDER, ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(150)  # a browser starts
WAIT_MS = 45_000
SLOW, FAST = 80, 4_000
OVERRIDES = {
    "LEASE_SECONDS": "2",
    "WORKER_TIMEOUT_SECONDS": "30",
    "MAX_WAIT_SECONDS_STREAM": "40",
    "USER_MAX_ACTIVE": "1",
    "INITIAL_QUOTA": "100",
    "STREAM_FLUSH_INTERVAL_MS": "20",
    "STREAM_TOKEN_TTL_SECONDS": "1",
}


class Setting:
    """A stack with a user who has a résumé, the network before its bridge, and that user's page."""

    def __init__(self, stack: Stack, front: Front, browser: Browser, page_url: str) -> None:
        self.stack = stack
        self.front = front
        self._browser = browser
        self._page_url = page_url

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """Open the page, in a browser that has not seen it before."""
        with contextlib.closing(self._browser.new_context()) as context:
            context.set_default_timeout(WAIT_MS)
            page = context.new_page()
            page.goto(self._page_url)
            page.wait_for_function("window.isReady")
            yield page

    def hurry(self) -> None:
        """Have the model talk fast again: what was to be done in mid-text is done."""
        self.stack.llm.pace.tokens_per_second = FAST

    def said(self, label: str) -> str:
        """Return what the model said in its last whole answer about this label."""
        calls = self.stack.llm.transcript.calls
        return [call.said for call in calls if label in call.labels and call.finished][-1]


@pytest.fixture(scope="module")
def setting(build_folder: Path) -> Iterator[Setting]:
    addresses: dict[str, str] = {}
    routes = [
        Route("/", lambda _: FileResponse(FOLDER / "page.html")),
        Route("/sluice.js", lambda _: FileResponse(ROOT / "client" / "sluice.js")),
        Route("/addresses", lambda _: JSONResponse(addresses)),
        Route("/favicon.ico", lambda _: Response(status_code=204)),
    ]
    with chromium() as browser, AppServer(Starlette(routes=routes), name="client-page") as server:
        stack = Stack(
            overrides=OVERRIDES,
            sleeping=Lane,
            build_folder=build_folder,
            first_token_ms=50,
            tokens_per_second=FAST,
            qstash_time_scale=0.1,
            allowed_origins=[server.origin],
        )
        with stack, Front(int(stack.url("events").rsplit(":", 1)[1]), name="front") as front:
            stack.llm.transcript.on = True
            addresses |= {"actionsUrl": stack.url("actions"), "events": stack.url("events")}
            addresses |= {"front": f"http://127.0.0.1:{front.port}", "token": stack.user_token("reader")}
            Frontend(stack, "reader").with_resume()
            yield Setting(stack, front, browser, f"{server.origin}/")


@pytest.fixture
def slow(setting: Setting) -> Iterator[None]:
    """The model talks slowly, so that much can happen in mid-text."""
    setting.stack.llm.pace.tokens_per_second = SLOW
    yield
    setting.hurry()


def start_match(page: Page, label: str) -> None:
    page.evaluate("input => submit('create-service', input).then(follow)", {"jobText": f"{JOB} {label} 👩‍💻"})


def wait_for_words(page: Page, more_than: int = 0) -> None:
    page.wait_for_function(
        "count => document.querySelector('#text').textContent.length > count", arg=more_than
    )


def ended(page: Page) -> dict[str, Any]:
    """Wait for the end of what is followed, and return its outcome."""
    try:
        page.wait_for_function("seen.outcome !== null || seen.error !== null")
    except Exception:
        raise AssertionError(page.evaluate("JSON.stringify(seen)")) from None
    outcome: dict[str, Any] = page.evaluate("seen.outcome ?? {state: seen.error}")
    return outcome


def assert_whole(setting: Setting, page: Page, label: str) -> None:
    outcome = ended(page)
    assert outcome["state"] == "done", outcome
    assert outcome["text"] == setting.said(label)
    assert page.text_content("#text") == outcome["text"]
    assert page.evaluate("seen.events.filter(({type}) => type === 'done').length") == 1


def test_with_the_network_cut_at_every_event_the_text_is_what_the_model_said(setting: Setting) -> None:
    """D29, D34: every reconnect is a request across origins, with its preflight."""
    with setting.page() as page:
        heard: list[str] = []

        def cut(event_type: str) -> None:
            heard.append(event_type)
            setting.front.cut_all()

        page.expose_function("heard", cut)
        start_match(page, "ref-cut")
        assert_whole(setting, page, "ref-cut")
        assert len(heard) > 3


@pytest.mark.parametrize("function", ["events", "paid_stream"])
def test_a_killed_function_costs_no_letter(setting: Setting, slow: None, function: str) -> None:
    """D2, D16: the bridge is come back to; a worker's text is replaced by the next attempt's."""
    label = f"ref-{function.partition('_')[0]}"
    with setting.page() as page:
        start_match(page, label)
        wait_for_words(page)
        setting.stack.kill(function)
        setting.hurry()
        setting.stack.restart(function)
        assert_whole(setting, page, label)


def test_a_browser_that_was_offline_goes_on_when_it_is_online(setting: Setting, slow: None) -> None:
    with setting.page() as page:
        start_match(page, "ref-offline")
        wait_for_words(page)
        page.context.set_offline(True)
        setting.front.cut_all()
        page.wait_for_function("seen.waits.some(({reason}) => reason === 'reconnecting')")
        page.context.set_offline(False)
        setting.hurry()
        assert_whole(setting, page, "ref-offline")


def test_a_tab_that_was_frozen_while_its_connection_died_catches_up(setting: Setting, slow: None) -> None:
    with setting.page() as page:
        start_match(page, "ref-frozen")
        wait_for_words(page)
        devtools = page.context.new_cdp_session(page)
        devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
        setting.front.cut_all()
        devtools.send("Page.setWebLifecycleState", {"state": "active"})
        setting.hurry()
        assert_whole(setting, page, "ref-frozen")


def test_a_page_reloaded_in_mid_text_has_all_of_it(setting: Setting, slow: None) -> None:
    with setting.page() as page:
        start_match(page, "ref-reload")
        wait_for_words(page, more_than=20)
        page.reload()
        setting.hurry()
        assert_whole(setting, page, "ref-reload")


def test_an_expired_address_is_replaced(setting: Setting) -> None:
    """D35: the refusal can be read across origins, and the status has another address."""
    with setting.page() as page:
        start_match(page, "ref-expired")
        assert_whole(setting, page, "ref-expired")
        address = page.evaluate("() => client_status().then(({streamUrl}) => streamUrl)")
        page.wait_for_function(
            "address => fetch(address).then(({status, body}) => body.cancel().then(() => status === 401))",
            arg=address,
        )
        page.evaluate("address => follow(address)", address)
        assert_whole(setting, page, "ref-expired")


def test_a_picked_file_is_summarised(setting: Setting) -> None:
    with setting.page() as page:
        page.set_input_files("#file", ROOT / "devstack" / "demo" / "samples" / "resume.en.pdf")
        page.evaluate("submitFile().then(follow)")
        outcome = ended(page)
        assert outcome["state"] == "done"
        assert outcome["result"]["header"]["name"]


def test_cancel_and_a_refusal_with_its_time_are_told(setting: Setting, slow: None) -> None:
    with setting.page() as page:
        start_match(page, "ref-busy")
        wait_for_words(page)
        refused = page.evaluate("refusal('upload-resume', {text: 'x'}, {maxWaitSeconds: 0})")
        assert (refused["code"], refused["status"]) == ("user_busy", 429)
        assert refused["retryAfter"] > 0
        page.evaluate("cancel()")
        outcome = ended(page)
        assert (outcome["state"], outcome["refunded"]) == ("cancelled", True)


def test_a_page_that_leaves_closes_its_connection(setting: Setting, slow: None) -> None:
    with setting.page() as page:
        start_match(page, "ref-leaver")
        wait_for_words(page)
        page.evaluate("leave()")
        assert ended(page)["state"] == "AbortError"
        wait_until(page, lambda: setting.front.connections == 0)
        page.evaluate("cancel()")


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait, letting the browser go on, until something holds on our side."""
    for _ in range(200):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("waited in vain")
