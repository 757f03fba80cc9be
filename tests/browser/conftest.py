"""One stack and page server for all of the folder, a Chromium for a module; a page and a user of its own for each test."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from devstack.frontend import Frontend
from devstack.listening import listen
from devstack.page.server import PageServer
from devstack.stack import Stack
from shared.state import keys
from tests.browser.page_kit import TOKENS_PER_SECOND, Reader
from tests.chromium_kit import chromium

FIRST_TOKEN_MS = 40
expect.set_options(timeout=20_000)
SETTINGS = {"LEASE_SECONDS": "2", "MODEL_IDLE_SECONDS": "2", "HEARTBEAT_SECONDS": "2"}


@pytest.fixture(
    scope="module"
)  # no longer: while Playwright runs, nobody else can run an asyncio loop in this thread
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def build_folder(new_build_folder: Callable[[], Path]) -> Path:
    return new_build_folder()


@pytest.fixture(scope="session")
def served(build_folder: Path) -> Iterator[tuple[Stack, PageServer]]:
    with (
        listen(0) as listener,
        Stack(
            proxied=True,
            fronted=("events",),
            overrides=SETTINGS,
            allowed_origins=(f"http://127.0.0.1:{listener.getsockname()[1]}",),
            first_token_ms=FIRST_TOKEN_MS,
            tokens_per_second=TOKENS_PER_SECOND,
            build_folder=build_folder,
        ) as stack,
        PageServer(stack, listener=listener) as server,
    ):
        stack.llm.transcript.on = True
        yield stack, server


@pytest.fixture
def reader(browser: Browser, served: tuple[Stack, PageServer]) -> Iterator[Reader]:
    """A user of this test's own with the page open, in English; whatever the page complains of fails the test."""
    stack, server = served
    user = f"reader{uuid.uuid4().hex[:8]}"
    context = browser.new_context(locale="en-GB", viewport={"width": 1600, "height": 1000})
    context.add_init_script(
        f"sessionStorage.getItem('sluice.user') ?? sessionStorage.setItem('sluice.user', '{user}')"
    )
    context.route("**/dev/font/*", lambda route: route.abort())  # 16 MB for each new context; one test has it
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    yield Reader(page, stack, user)
    context.close()
    stack.llm.pace.tokens_per_second = TOKENS_PER_SECOND
    stack.llm.heal()
    stack.qstash.faults.clear()
    assert not complaints, complaints


@pytest.fixture(scope="session")
def resume_key(served: tuple[Stack, PageServer]) -> str:
    """Where the summarised résumé of a user stands, for other users to have a copy."""
    return keys.resume(Frontend(served[0], "first").with_resume().user)


@pytest.fixture
def prepared(reader: Reader, resume_key: str) -> Reader:
    """A reader whose résumé has been summarised: what a match needs."""
    with contextlib.closing(reader.stack.open_store()) as store:
        store.command("COPY", resume_key, keys.resume(reader.user))
    return reader
